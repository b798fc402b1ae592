//! Names of the registers.

/// A register that a command can name (main-state-machine §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Register {
    A,
    B,
    C,
    D,
    E,
    Sr,
    Ctx,
    Sp,
    Pc,
    Gas,
    ZkPc,
    Rr,
    Step,
    HashPos,
    CntArith,
    CntBinary,
    CntMemAlign,
    CntKeccakF,
    CntPaddingPg,
    CntPoseidonG,
}

impl Register {
    /// Names as a ROM file has them.
    const NAMES: [(&'static str, Self); 20] = [
        ("A", Self::A),
        ("B", Self::B),
        ("C", Self::C),
        ("D", Self::D),
        ("E", Self::E),
        ("SR", Self::Sr),
        ("CTX", Self::Ctx),
        ("SP", Self::Sp),
        ("PC", Self::Pc),
        ("GAS", Self::Gas),
        ("zkPC", Self::ZkPc),
        ("RR", Self::Rr),
        ("STEP", Self::Step),
        ("HASHPOS", Self::HashPos),
        ("CNT_ARITH", Self::CntArith),
        ("CNT_BINARY", Self::CntBinary),
        ("CNT_MEM_ALIGN", Self::CntMemAlign),
        ("CNT_KECCAK_F", Self::CntKeccakF),
        ("CNT_PADDING_PG", Self::CntPaddingPg),
        ("CNT_POSEIDON_G", Self::CntPoseidonG),
    ];

    /// True for one of eight elements.
    pub(crate) fn is_wide(self) -> bool {
        matches!(self, Self::A | Self::B | Self::C | Self::D | Self::E | Self::Sr)
    }

    /// Returns the register of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, register)| *register)
    }
}
