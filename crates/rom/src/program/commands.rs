//! Commands: trees of expressions, by number (main-state-machine §8).

use super::Register;

/// A command's place in [`super::Program::commands`].
pub(crate) type CommandId = u32;

/// The kind of a command's value (main-state-machine §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Fea,
    /// A small register.
    Small,
}

/// One node of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Place of the number.
    Number(u32),
    Declare(u32),
    Get(u32),
    Set {
        variable: u32,
        declares: bool,
        value: CommandId,
    },
    Register(Register),
    Memory {
        offset: u32,
        use_ctx: bool,
    },
    Unary(Unary, CommandId),
    Binary(Binary, CommandId, CommandId),
    If([CommandId; 3]),
    Function(Function, [CommandId; 4]),
    /// Largest of some bit lengths; first argument and number, arguments stand in a row of `Argument`s before.
    BitLength(u32, u16),
    /// The value of another command.
    Argument(CommandId),
    Event(EventCommand),
}

/// A call of `eventLog` or `storeLog`, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventCommand {
    StartBatch,
    StartBlock,
    ProcessTx,
    FinishTx,
    FinishBlock,
    FinishBatch,
    /// Place of the error's name.
    Error(u32),
    Opcode(CommandId),
    UpdateStorage {
        key: Register,
        value: Register,
    },
    StoreLog {
        index: Register,
        is_topic: bool,
        value: Register,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Neg,
    Not,
    BitNot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Or,
    And,
    Gt,
    Ge,
    Lt,
    Le,
    Eq,
    Ne,
    BitAnd,
    BitOr,
    BitXor,
    Shl,
    Shr,
}

/// What an argument must be (main-state-machine §8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Scalar,
    /// The value of a small register.
    Small,
    /// Not evaluated.
    Any,
}

/// The forks that have a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forks {
    All,
    /// Those of the first API.
    V1,
    /// Those of the second API.
    V2,
    /// Those whose square root takes no parity, or takes one.
    Parity(bool),
    /// Those from 10 on.
    Later,
    /// Those from 13 on.
    Numbered,
}

macro_rules! functions {
    ($($variant:ident $name:literal $kind:ident [$($argument:ident)*] $forks:expr;)*) => {
        /// The functions (main-state-machine §8.4 to §8.6), but those of events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Function { $($variant,)* }

        impl Function {
            /// Returns the function of this name.
            pub(crate) fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// Returns what its value is.
            pub(crate) fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }

            /// Returns what its arguments must be.
            pub(crate) fn arguments(self) -> &'static [Argument] {
                match self { $(Self::$variant => &[$(Argument::$argument),*],)* }
            }

            /// Returns which forks have it.
            pub(crate) fn forks(self) -> Forks {
                match self { $(Self::$variant => $forks,)* }
            }
        }
    };
}

functions! {
    GetGlobalExitRoot "getGlobalExitRoot" Fea [] Forks::V1;
    GetTimestamp "getTimestamp" Fea [] Forks::V1;
    GetSequencerAddr "getSequencerAddr" Fea [] Forks::All;
    GetTxsLen "getTxsLen" Fea [] Forks::All;
    GetTxs "getTxs" Fea [Scalar Scalar] Forks::All;
    GetL1InfoRoot "getL1InfoRoot" Fea [] Forks::V2;
    GetTimestampLimit "getTimestampLimit" Fea [] Forks::V2;
    GetForcedBlockHashL1 "getForcedBlockHashL1" Fea [] Forks::V2;
    GetL1InfoGer "getL1InfoGER" Fea [Scalar] Forks::V2;
    GetL1InfoBlockHash "getL1InfoBlockHash" Fea [Scalar] Forks::V2;
    GetL1InfoTimestamp "getL1InfoTimestamp" Fea [Scalar] Forks::V2;
    GetSmtProof "getSmtProof" Fea [Scalar Scalar] Forks::V2;
    BeforeLast "beforeLast" Fea [] Forks::All;
    InverseFp "inverseFpEc" Scalar [Scalar] Forks::All;
    InverseFn "inverseFnEc" Scalar [Scalar] Forks::All;
    Sqrt "sqrtFpEc" Scalar [Scalar] Forks::Parity(false);
    SqrtParity "sqrtFpEcParity" Scalar [Scalar Scalar] Forks::Parity(true);
    XAddPoint "xAddPointEc" Scalar [Scalar Scalar Scalar Scalar] Forks::All;
    YAddPoint "yAddPointEc" Scalar [Scalar Scalar Scalar Scalar] Forks::All;
    XDblPoint "xDblPointEc" Scalar [Scalar Scalar] Forks::All;
    YDblPoint "yDblPointEc" Scalar [Scalar Scalar] Forks::All;
    InverseFnR1 "inverseFnEc_secp256r1" Scalar [Scalar] Forks::Numbered;
    XAddPointR1 "xAddPointEc_secp256r1" Scalar [Scalar Scalar Scalar Scalar] Forks::Numbered;
    YAddPointR1 "yAddPointEc_secp256r1" Scalar [Scalar Scalar Scalar Scalar] Forks::Numbered;
    XDblPointR1 "xDblPointEc_secp256r1" Scalar [Scalar Scalar] Forks::Numbered;
    YDblPointR1 "yDblPointEc_secp256r1" Scalar [Scalar Scalar] Forks::Numbered;
    InverseBn254 "fpBN254inv" Scalar [Scalar] Forks::V2;
    Fp2InverseX "fp2InvBN254_x" Scalar [Scalar Scalar] Forks::V2;
    Fp2InverseY "fp2InvBN254_y" Scalar [Scalar Scalar] Forks::V2;
    Fp2Add "ARITH_BN254_ADDFP2" Scalar [Scalar Scalar] Forks::V2;
    Fp2Sub "ARITH_BN254_SUBFP2" Scalar [Scalar Scalar] Forks::V2;
    Fp2MulX "ARITH_BN254_MULFP2_X" Scalar [Scalar Scalar Scalar Scalar] Forks::V2;
    Fp2MulY "ARITH_BN254_MULFP2_Y" Scalar [Scalar Scalar Scalar Scalar] Forks::V2;
    Cond "cond" Fea [Scalar] Forks::All;
    Exp "exp" Fea [Scalar Scalar] Forks::All;
    BitwiseAnd "f_bitwise_and" Scalar [Scalar Scalar] Forks::All;
    BitwiseOr "f_bitwise_or" Scalar [Scalar Scalar] Forks::All;
    BitwiseXor "f_bitwise_xor" Scalar [Scalar Scalar] Forks::All;
    BitwiseNot "f_bitwise_not" Scalar [Scalar] Forks::All;
    CompareLess "f_comp_lt" Scalar [Scalar Scalar] Forks::All;
    CompareGreater "f_comp_gt" Scalar [Scalar Scalar] Forks::All;
    CompareEqual "f_comp_eq" Scalar [Scalar Scalar] Forks::All;
    LoadScalar "loadScalar" Scalar [Any] Forks::All;
    Log "log" Fea [Any] Forks::All;
    MemAlignW0 "memAlignWR_W0" Fea [Scalar Scalar Scalar] Forks::All;
    MemAlignW1 "memAlignWR_W1" Fea [Scalar Scalar Scalar] Forks::All;
    MemAlign8W0 "memAlignWR8_W0" Fea [Scalar Scalar Scalar] Forks::All;
    Divide "MPdiv" Scalar [Scalar Scalar Scalar Scalar] Forks::V2;
    DivideShort "MPdiv_short" Scalar [Scalar Scalar Scalar] Forks::V2;
    LenQuotient "receiveLenQuotient" Scalar [] Forks::V2;
    LenRemainder "receiveLenRemainder" Scalar [] Forks::V2;
    LenQuotientShort "receiveLenQuotient_short" Scalar [] Forks::V2;
    QuotientChunk "receiveQuotientChunk" Scalar [Small] Forks::V2;
    QuotientChunkShort "receiveQuotientChunk_short" Scalar [Small] Forks::V2;
    RemainderChunk "receiveRemainderChunk" Scalar [Scalar] Forks::V2;
    RemainderShort "receiveRemainderChunk_short" Scalar [] Forks::V2;
    SignedComparison "signedComparison" Fea [Scalar Scalar Scalar] Forks::Numbered;
    SignedComparisonWithConst "signedComparisonWithConst" Fea [Scalar Scalar] Forks::Numbered;
    FirstDifference "getFirstDiffChunkRem" Fea [Scalar Scalar] Forks::Numbered;
    Dump "dump" Small [Any] Forks::Later;
    DumpRegs "dumpRegs" Small [Any] Forks::Later;
    DumpHex "dumphex" Small [Any] Forks::Later;
}
