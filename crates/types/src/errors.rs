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
    /// Only the values a native executor produces are listed; `NoError` means the batch ran to its end.
    ExecutorError, "EXECUTOR_ERROR_" {
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
        Assert = 34, "SM_MAIN_ASSERT";
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
        InvalidL1InfoRoot = 97, "INVALID_L1_INFO_ROOT";
        InvalidForcedBlockhashL1 = 98, "INVALID_FORCED_BLOCKHASH_L1";
        InvalidL1DataGlobalExitRoot = 99, "INVALID_L1_DATA_V2_GLOBAL_EXIT_ROOT";
        InvalidL1DataBlockHashL1 = 100, "INVALID_L1_DATA_V2_BLOCK_HASH_L1";
        InvalidL1SmtProof = 101, "INVALID_L1_SMT_PROOF";
        InvalidBalance = 102, "INVALID_BALANCE";
        /// A limb of the old state root is not a field element (batch §2).
        BinaryLt4Mismatch = 103, "SM_MAIN_BINARY_LT4_MISMATCH";
        InvalidNewStateRoot = 104, "INVALID_NEW_STATE_ROOT";
        InvalidNewAccInputHash = 105, "INVALID_NEW_ACC_INPUT_HASH";
        InvalidNewLocalExitRoot = 106, "INVALID_NEW_LOCAL_EXIT_ROOT";
        DbKeyNotFound = 107, "DB_KEY_NOT_FOUND";
        SmtInvalidDataSize = 108, "SMT_INVALID_DATA_SIZE";
        HashdbGrpcError = 109, "HASHDB_GRPC_ERROR";
        InvalidL1InfoTreeIndex = 111, "INVALID_L1_INFO_TREE_INDEX";
        InvalidL1InfoTreeSmtProofValue = 112, "INVALID_L1_INFO_TREE_SMT_PROOF_VALUE";
        InvalidWitness = 113, "INVALID_WITNESS";
        InvalidCbor = 114, "INVALID_CBOR";
        InvalidDataStream = 115, "INVALID_DATA_STREAM";
        InvalidUpdateMerkleTree = 116, "INVALID_UPDATE_MERKLE_TREE";
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
