//! What native code that takes the place of known lines needs of them: offsets of variables and places in the program.

/// Native code that begins at a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Native {
    /// The loop over the bits of a product of points.
    ProductLoop,
    /// The next opcode is read.
    ReadCode,
    /// A PUSH reads its bytes.
    Push,
    /// A number is divided by another.
    Divide,
    /// A number is shifted to the right, by bytes.
    ShiftBytes,
    /// A number is shifted to the right, by bits.
    ShiftBits,
    /// An offset is split into words and bytes.
    SplitOffset,
    /// The bytes of a word are added to what is hashed of the batch, one by one.
    AddBytes,
    /// The gas of the bytes of call data is summed up.
    DataGas,
}

impl Native {
    pub(crate) const ALL: [Self; 9] = [
        Self::ProductLoop,
        Self::ReadCode,
        Self::Push,
        Self::Divide,
        Self::ShiftBytes,
        Self::ShiftBits,
        Self::SplitOffset,
        Self::AddBytes,
        Self::DataGas,
    ];

    /// Returns the name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ProductLoop => "product of points",
            Self::ReadCode => "next opcode",
            Self::Push => "bytes of a PUSH",
            Self::Divide => "division",
            Self::ShiftBytes => "shift by bytes",
            Self::ShiftBits => "shift by bits",
            Self::SplitOffset => "offset in words",
            Self::AddBytes => "bytes to hash",
            Self::DataGas => "gas of call data",
        }
    }

    /// Labels of the lines that are known by their digest: the first of each part and the first after it. Native code begins
    /// at the last label.
    pub(crate) const fn labels(self) -> (&'static [(&'static str, &'static str)], &'static str) {
        match self {
            Self::ProductLoop => (&[("mulPointEc_loop", "mulPointEc_end_loop")], "mulPointEc_loop"),
            Self::ReadCode => (&[("readByteCode", "endDeploy")], "readCode"),
            Self::Push => (&[("opAuxPUSHA", "opAuxPUSHB"), ("readPush", "addBatchHashByteByByte")], "opAuxPUSHA"),
            Self::Divide => (&[("divARITH", "SHRarith")], "divARITH"),
            Self::ShiftBytes => (SHIFT_PARTS, "SHRarith"),
            Self::ShiftBits => (SHIFT_PARTS, "SHRarithBit"),
            Self::SplitOffset => (&[("offsetUtil", "moveBalances")], "offsetUtil"),
            Self::AddBytes => (
                &[("utilsAddBatchHashBytebyByteLoop", "checkBytecodeStartsEF"), ("addBatchHashData", "getTxBytes")],
                "utilsAddBatchHashBytebyByteLoop",
            ),
            Self::DataGas => (&[("loopBytes", "endCalldataIntrinsicGas")], "loopBytes"),
        }
    }
}

const SHIFT_PARTS: &[(&str, &str)] = &[("divARITH", "SHLarith"), ("exp_num", "processTx")];

/// What is known of the lines of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Natives {
    pub(crate) product_loop: Option<ProductLoop>,
    pub(crate) read_code: Option<ReadCode>,
    pub(crate) push: Option<Push>,
    pub(crate) divide: Option<Divide>,
    pub(crate) shift: Option<Shift>,
    pub(crate) split_offset: Option<[u32; 2]>,
    pub(crate) add_bytes: Option<AddBytes>,
    /// Number of the buffer of what is hashed of the batch.
    pub(crate) data_gas: Option<u32>,
}

/// Variables of the loop over the bits of a product of points, in context 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProductLoop {
    /// x1, y1, x2, y2, k1, k2.
    pub(crate) operands: [u32; 6],
    /// What is accumulated.
    pub(crate) sum: [u32; 2],
    /// The sum of the two points.
    pub(crate) both: [u32; 2],
    /// Not zero if that sum is the point at infinity.
    pub(crate) both_empty: u32,
    /// Equations that a doubling takes.
    pub(crate) doubling_ariths: u64,
}

/// Variables of the running context, and lines, of the reading of an opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadCode {
    pub(crate) is_create: u32,
    pub(crate) hash_id: u32,
    pub(crate) address: u32,
    pub(crate) length: u32,
    /// The line that reads the opcode from the buffer.
    pub(crate) read: u32,
    /// The first line of the table of opcodes.
    pub(crate) table: u32,
}

/// Variables and lines of a PUSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Push {
    /// In the running context.
    pub(crate) hash_id: u32,
    pub(crate) length: u32,
    /// In context 0.
    pub(crate) bytes: u32,
    /// Blocks of four bytes, what is left of them, what is accumulated; `None` where words are read without them.
    pub(crate) blocks: Option<[u32; 3]>,
    /// Where the reading of the bytes returns to, and the line after the PUSH.
    pub(crate) returns_to: u32,
    pub(crate) next: u32,
}

/// Variables of a division, in context 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Divide {
    pub(crate) operands: [u32; 2],
    pub(crate) results: [u32; 2],
    pub(crate) return_address: u32,
    /// Where A to E are kept.
    pub(crate) kept: [u32; 5],
}

/// Variables of a shift, in context 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) divide: Divide,
    pub(crate) return_address: u32,
    /// Where B to E are kept.
    pub(crate) kept: [u32; 4],
    /// Where its division returns to.
    pub(crate) divided: u32,
}

/// Variables, in context 0, and lines of the adding of bytes to what is hashed of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddBytes {
    pub(crate) word: u32,
    pub(crate) count: u32,
    pub(crate) hash_id: u32,
    pub(crate) position: u32,
    /// What E is in the end.
    pub(crate) last_id: u32,
    pub(crate) start: u32,
    pub(crate) shift: u32,
    /// Where the shift and the hashing return to.
    pub(crate) shifted: u32,
    pub(crate) hashed: u32,
}
