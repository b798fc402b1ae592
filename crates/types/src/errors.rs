//! The two error enumerations of the executor contract, as plain domain types.

/// Declares a numbered error enumeration with its wire number and its wire name.
macro_rules! numbered_errors {
    ($(#[$doc:meta])* $name:ident, $prefix:literal { $($(#[$vdoc:meta])* $variant:ident = $number:literal, $wire:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum $name { $(#[doc = concat!("`", $prefix, $wire, "`.")] $(#[$vdoc])* $variant = $number,)* }

        impl $name {
            /// Every value, in numeric order.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// Returns the number on the wire.
            pub const fn number(self) -> i32 { self as i32 }

            /// Returns the full protobuf name, prefix included.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => concat!($prefix, $wire),)* }
            }

            /// Returns the value with this wire number, if this service can send it.
            pub fn from_number(number: i32) -> Option<Self> {
                Self::ALL.iter().copied().find(|e| e.number() == number)
            }
        }
    };
}

numbered_errors! {
    /// The reason why a whole request could not be answered (`executor.v1.ExecutorError`, executor-service §7.1).
    ///
    /// Only the values an executor produces are listed; `NoError` means the batch ran to its end. Those from 12 to 68, from 83
    /// to 95 and 117 come from the machine that runs a ROM alone (main-state-machine §10.1), but for 34.
    ExecutorError, "EXECUTOR_ERROR_" {
        /// A failure without a number of its own.
        Unspecified = 0, "UNSPECIFIED";
        NoError = 1, "NO_ERROR";
        DbError = 2, "DB_ERROR";
        CountersOverflowSteps = 3, "SM_MAIN_COUNTERS_OVERFLOW_STEPS";
        CountersOverflowKeccak = 4, "SM_MAIN_COUNTERS_OVERFLOW_KECCAK";
        CountersOverflowBinary = 5, "SM_MAIN_COUNTERS_OVERFLOW_BINARY";
        CountersOverflowMem = 6, "SM_MAIN_COUNTERS_OVERFLOW_MEM";
        CountersOverflowArith = 7, "SM_MAIN_COUNTERS_OVERFLOW_ARITH";
        CountersOverflowPadding = 8, "SM_MAIN_COUNTERS_OVERFLOW_PADDING";
        CountersOverflowPoseidon = 9, "SM_MAIN_COUNTERS_OVERFLOW_POSEIDON";
        UnsupportedForkId = 10, "UNSUPPORTED_FORK_ID";
        BalanceMismatch = 11, "BALANCE_MISMATCH";
        Fea2Scalar = 12, "FEA2SCALAR";
        ToS32 = 13, "TOS32";
        ArithEcrecoverDivideByZero = 16, "SM_MAIN_ARITH_ECRECOVER_DIVIDE_BY_ZERO";
        AddressOutOfRange = 17, "SM_MAIN_ADDRESS_OUT_OF_RANGE";
        AddressNegative = 18, "SM_MAIN_ADDRESS_NEGATIVE";
        StorageInvalidKey = 19, "SM_MAIN_STORAGE_INVALID_KEY";
        HashKSizeOutOfRange = 21, "SM_MAIN_HASHK_SIZE_OUT_OF_RANGE";
        HashKPositionNegative = 22, "SM_MAIN_HASHK_POSITION_NEGATIVE";
        HashKPositionPlusSizeOutOfRange = 23, "SM_MAIN_HASHK_POSITION_PLUS_SIZE_OUT_OF_RANGE";
        HashKDigestAddressNotFound = 24, "SM_MAIN_HASHKDIGEST_ADDRESS_NOT_FOUND";
        HashKDigestNotCompleted = 25, "SM_MAIN_HASHKDIGEST_NOT_COMPLETED";
        HashPSizeOutOfRange = 27, "SM_MAIN_HASHP_SIZE_OUT_OF_RANGE";
        HashPPositionNegative = 28, "SM_MAIN_HASHP_POSITION_NEGATIVE";
        HashPPositionPlusSizeOutOfRange = 29, "SM_MAIN_HASHP_POSITION_PLUS_SIZE_OUT_OF_RANGE";
        HashPDigestAddressNotFound = 30, "SM_MAIN_HASHPDIGEST_ADDRESS_NOT_FOUND";
        HashPDigestNotCompleted = 31, "SM_MAIN_HASHPDIGEST_NOT_COMPLETED";
        MemalignOffsetOutOfRange = 32, "SM_MAIN_MEMALIGN_OFFSET_OUT_OF_RANGE";
        MultipleFreeInputs = 33, "SM_MAIN_MULTIPLE_FREEIN";
        Assert = 34, "SM_MAIN_ASSERT";
        Memory = 35, "SM_MAIN_MEMORY";
        StorageReadMismatch = 36, "SM_MAIN_STORAGE_READ_MISMATCH";
        StorageWriteMismatch = 37, "SM_MAIN_STORAGE_WRITE_MISMATCH";
        HashKValueMismatch = 38, "SM_MAIN_HASHK_VALUE_MISMATCH";
        HashKPaddingMismatch = 39, "SM_MAIN_HASHK_PADDING_MISMATCH";
        HashKSizeMismatch = 40, "SM_MAIN_HASHK_SIZE_MISMATCH";
        HashKLenLengthMismatch = 41, "SM_MAIN_HASHKLEN_LENGTH_MISMATCH";
        HashKLenCalledTwice = 42, "SM_MAIN_HASHKLEN_CALLED_TWICE";
        HashKDigestNotFound = 43, "SM_MAIN_HASHKDIGEST_NOT_FOUND";
        HashKDigestDigestMismatch = 44, "SM_MAIN_HASHKDIGEST_DIGEST_MISMATCH";
        HashKDigestCalledTwice = 45, "SM_MAIN_HASHKDIGEST_CALLED_TWICE";
        HashPValueMismatch = 46, "SM_MAIN_HASHP_VALUE_MISMATCH";
        HashPPaddingMismatch = 47, "SM_MAIN_HASHP_PADDING_MISMATCH";
        HashPSizeMismatch = 48, "SM_MAIN_HASHP_SIZE_MISMATCH";
        HashPLenLengthMismatch = 49, "SM_MAIN_HASHPLEN_LENGTH_MISMATCH";
        HashPLenCalledTwice = 50, "SM_MAIN_HASHPLEN_CALLED_TWICE";
        HashPDigestDigestMismatch = 51, "SM_MAIN_HASHPDIGEST_DIGEST_MISMATCH";
        HashPDigestCalledTwice = 52, "SM_MAIN_HASHPDIGEST_CALLED_TWICE";
        ArithMismatch = 53, "SM_MAIN_ARITH_MISMATCH";
        ArithEcrecoverMismatch = 54, "SM_MAIN_ARITH_ECRECOVER_MISMATCH";
        BinaryAddMismatch = 55, "SM_MAIN_BINARY_ADD_MISMATCH";
        BinarySubMismatch = 56, "SM_MAIN_BINARY_SUB_MISMATCH";
        BinaryLtMismatch = 57, "SM_MAIN_BINARY_LT_MISMATCH";
        BinarySltMismatch = 58, "SM_MAIN_BINARY_SLT_MISMATCH";
        BinaryEqMismatch = 59, "SM_MAIN_BINARY_EQ_MISMATCH";
        BinaryAndMismatch = 60, "SM_MAIN_BINARY_AND_MISMATCH";
        BinaryOrMismatch = 61, "SM_MAIN_BINARY_OR_MISMATCH";
        BinaryXorMismatch = 62, "SM_MAIN_BINARY_XOR_MISMATCH";
        MemalignWriteMismatch = 63, "SM_MAIN_MEMALIGN_WRITE_MISMATCH";
        MemalignWrite8Mismatch = 64, "SM_MAIN_MEMALIGN_WRITE8_MISMATCH";
        MemalignReadMismatch = 65, "SM_MAIN_MEMALIGN_READ_MISMATCH";
        JmpnOutOfRange = 66, "SM_MAIN_JMPN_OUT_OF_RANGE";
        InvalidOldStateRoot = 69, "INVALID_OLD_STATE_ROOT";
        InvalidOldAccInputHash = 70, "INVALID_OLD_ACC_INPUT_HASH";
        InvalidChainId = 71, "INVALID_CHAIN_ID";
        InvalidBatchL2Data = 72, "INVALID_BATCH_L2_DATA";
        InvalidGlobalExitRoot = 73, "INVALID_GLOBAL_EXIT_ROOT";
        InvalidCoinbase = 74, "INVALID_COINBASE";
        InvalidFrom = 75, "INVALID_FROM";
        InvalidDbKey = 76, "INVALID_DB_KEY";
        InvalidDbValue = 77, "INVALID_DB_VALUE";
        InvalidContractsBytecodeKey = 78, "INVALID_CONTRACTS_BYTECODE_KEY";
        InvalidContractsBytecodeValue = 79, "INVALID_CONTRACTS_BYTECODE_VALUE";
        CountersOverflowSha256 = 81, "SM_MAIN_COUNTERS_OVERFLOW_SHA256";
        HashSSizeOutOfRange = 83, "SM_MAIN_HASHS_SIZE_OUT_OF_RANGE";
        HashSPositionNegative = 84, "SM_MAIN_HASHS_POSITION_NEGATIVE";
        HashSPositionPlusSizeOutOfRange = 85, "SM_MAIN_HASHS_POSITION_PLUS_SIZE_OUT_OF_RANGE";
        HashSDigestAddressNotFound = 86, "SM_MAIN_HASHSDIGEST_ADDRESS_NOT_FOUND";
        HashSDigestNotCompleted = 87, "SM_MAIN_HASHSDIGEST_NOT_COMPLETED";
        HashSValueMismatch = 88, "SM_MAIN_HASHS_VALUE_MISMATCH";
        HashSPaddingMismatch = 89, "SM_MAIN_HASHS_PADDING_MISMATCH";
        HashSSizeMismatch = 90, "SM_MAIN_HASHS_SIZE_MISMATCH";
        HashSLenLengthMismatch = 91, "SM_MAIN_HASHSLEN_LENGTH_MISMATCH";
        HashSLenCalledTwice = 92, "SM_MAIN_HASHSLEN_CALLED_TWICE";
        HashSDigestNotFound = 93, "SM_MAIN_HASHSDIGEST_NOT_FOUND";
        HashSDigestDigestMismatch = 94, "SM_MAIN_HASHSDIGEST_DIGEST_MISMATCH";
        HashSDigestCalledTwice = 95, "SM_MAIN_HASHSDIGEST_CALLED_TWICE";
        InvalidL1InfoRoot = 97, "INVALID_L1_INFO_ROOT";
        InvalidForcedBlockhashL1 = 98, "INVALID_FORCED_BLOCKHASH_L1";
        InvalidL1DataGlobalExitRoot = 99, "INVALID_L1_DATA_V2_GLOBAL_EXIT_ROOT";
        InvalidL1DataBlockHashL1 = 100, "INVALID_L1_DATA_V2_BLOCK_HASH_L1";
        InvalidL1SmtProof = 101, "INVALID_L1_SMT_PROOF";
        InvalidBalance = 102, "INVALID_BALANCE";
        /// Also a limb of the old state root that is not a field element (batch §2).
        BinaryLt4Mismatch = 103, "SM_MAIN_BINARY_LT4_MISMATCH";
        InvalidNewStateRoot = 104, "INVALID_NEW_STATE_ROOT";
        InvalidNewAccInputHash = 105, "INVALID_NEW_ACC_INPUT_HASH";
        InvalidNewLocalExitRoot = 106, "INVALID_NEW_LOCAL_EXIT_ROOT";
        DbKeyNotFound = 107, "DB_KEY_NOT_FOUND";
        SmtInvalidDataSize = 108, "SMT_INVALID_DATA_SIZE";
        HashdbGrpcError = 109, "HASHDB_GRPC_ERROR";
        StateManager = 110, "STATE_MANAGER";
        InvalidL1InfoTreeIndex = 111, "INVALID_L1_INFO_TREE_INDEX";
        InvalidL1InfoTreeSmtProofValue = 112, "INVALID_L1_INFO_TREE_SMT_PROOF_VALUE";
        InvalidWitness = 113, "INVALID_WITNESS";
        InvalidCbor = 114, "INVALID_CBOR";
        InvalidDataStream = 115, "INVALID_DATA_STREAM";
        InvalidUpdateMerkleTree = 116, "INVALID_UPDATE_MERKLE_TREE";
        InvalidTxStatusError = 117, "SM_MAIN_INVALID_TX_STATUS_ERROR";
    }
}

numbered_errors! {
    /// The outcome of a transaction, a block or a batch inside the rules (`executor.v1.RomError`, executor-service §7.2).
    #[derive(Default)]
    RomError, "ROM_ERROR_" {
        #[default]
        NoError = 1, "NO_ERROR";
        OutOfGas = 2, "OUT_OF_GAS";
        StackOverflow = 3, "STACK_OVERFLOW";
        StackUnderflow = 4, "STACK_UNDERFLOW";
        MaxCodeSizeExceeded = 5, "MAX_CODE_SIZE_EXCEEDED";
        ContractAddressCollision = 6, "CONTRACT_ADDRESS_COLLISION";
        ExecutionReverted = 7, "EXECUTION_REVERTED";
        OutOfCountersStep = 8, "OUT_OF_COUNTERS_STEP";
        OutOfCountersKeccak = 9, "OUT_OF_COUNTERS_KECCAK";
        OutOfCountersBinary = 10, "OUT_OF_COUNTERS_BINARY";
        OutOfCountersMem = 11, "OUT_OF_COUNTERS_MEM";
        OutOfCountersArith = 12, "OUT_OF_COUNTERS_ARITH";
        OutOfCountersPadding = 13, "OUT_OF_COUNTERS_PADDING";
        OutOfCountersPoseidon = 14, "OUT_OF_COUNTERS_POSEIDON";
        OutOfCountersSha = 15, "OUT_OF_COUNTERS_SHA";
        InvalidJump = 16, "INVALID_JUMP";
        InvalidOpcode = 17, "INVALID_OPCODE";
        InvalidStatic = 18, "INVALID_STATIC";
        InvalidBytecodeStartsEf = 19, "INVALID_BYTECODE_STARTS_EF";
        IntrinsicInvalidSignature = 20, "INTRINSIC_INVALID_SIGNATURE";
        IntrinsicInvalidChainId = 21, "INTRINSIC_INVALID_CHAIN_ID";
        IntrinsicInvalidNonce = 22, "INTRINSIC_INVALID_NONCE";
        IntrinsicInvalidGasLimit = 23, "INTRINSIC_INVALID_GAS_LIMIT";
        IntrinsicInvalidBalance = 24, "INTRINSIC_INVALID_BALANCE";
        IntrinsicInvalidBatchGasLimit = 25, "INTRINSIC_INVALID_BATCH_GAS_LIMIT";
        IntrinsicInvalidSenderCode = 26, "INTRINSIC_INVALID_SENDER_CODE";
        IntrinsicTxGasOverflow = 27, "INTRINSIC_TX_GAS_OVERFLOW";
        BatchDataTooBig = 28, "BATCH_DATA_TOO_BIG";
        UnsupportedForkId = 29, "UNSUPPORTED_FORK_ID";
        InvalidRlp = 30, "INVALID_RLP";
        InvalidDecodeChangeL2Block = 31, "INVALID_DECODE_CHANGE_L2_BLOCK";
        InvalidNotFirstTxChangeL2Block = 32, "INVALID_NOT_FIRST_TX_CHANGE_L2_BLOCK";
        InvalidTxChangeL2BlockLimitTimestamp = 33, "INVALID_TX_CHANGE_L2_BLOCK_LIMIT_TIMESTAMP";
        InvalidTxChangeL2BlockMinTimestamp = 34, "INVALID_TX_CHANGE_L2_BLOCK_MIN_TIMESTAMP";
        InvalidL1InfoTreeIndex = 35, "INVALID_L1_INFO_TREE_INDEX";
    }
}

impl RomError {
    /// True for the eight out-of-counters errors, which undo the whole batch (batch §11).
    pub const fn is_out_of_counters(self) -> bool {
        (self as i32) >= 8 && (self as i32) <= 15
    }

    /// True for a transaction that failed an intrinsic check and changed nothing (batch §8.1).
    pub const fn is_intrinsic(self) -> bool {
        (self as i32) >= 20 && (self as i32) <= 27
    }
}
