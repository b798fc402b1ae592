//! The memory of the machine (main-state-machine §3.2): words of eight elements, in pages, context by context.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::U256;
use foldhash::fast::RandomState;

use crate::fea::{self, Fea};
use crate::{Abort, Program, Variable};

/// Distance between two contexts.
pub(crate) const CONTEXT_SPAN: u64 = 0x4_0000;
/// Where the stack of a context begins.
pub(crate) const STACK: u64 = 0x1_0000;
/// Where the EVM memory of a context begins.
pub(crate) const EVM_MEMORY: u64 = 0x2_0000;
/// Words of a page.
const PAGE_WORDS: usize = 32;
/// Pages that are found without their context.
const RECENT: usize = 256;
/// Memory of one machine, at most: a full batch takes some 20 MiB. An end for what a hostile ROM could take.
const BYTES_MAX: usize = 1 << 30;
/// Longest piece of EVM memory that is read in one go, in bytes (main-state-machine §9.9).
const PIECE_MAX: u64 = 0x3f_ffe0;

/// All words ever written. Those never written are zero.
#[derive(Debug)]
pub struct Memory {
    /// The place in `contexts` of each context number.
    numbers: HashMap<u64, u32, RandomState>,
    contexts: Vec<Context>,
    pages: Vec<Page>,
    /// Context used last, and its place.
    last: (u64, u32),
    /// Pages used last: number and place in `pages`, by a hash of the number.
    recent: Box<[(u64, u32); RECENT]>,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq)]
#[repr(C, align(64))]
struct Page {
    words: [Fea; PAGE_WORDS],
    written: u32,
}

/// The pages of one context: the place in `pages` plus one of each page of the regions, as far as they are used.
#[derive(Debug, Default)]
struct Context {
    regions: [Vec<u32>; 3],
}

impl Default for Memory {
    fn default() -> Self {
        let mut numbers = HashMap::default();
        numbers.insert(0, 0);
        let recent = Box::new([(u64::MAX, 0); RECENT]);
        Self { numbers, contexts: vec![Context::default()], pages: Vec::new(), last: (0, 0), recent, bytes: 0 }
    }
}

/// Words are compared, and which of them were written.
impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.sorted_pages() == other.sorted_pages()
    }
}

/// Splits an address into its context, region, page and word.
#[inline(always)]
fn split(address: u64) -> (u64, usize, usize, usize) {
    let (context, inside) = (address / CONTEXT_SPAN, (address % CONTEXT_SPAN) as usize);
    // The EVM memory takes the upper half.
    let (region, offset) = match inside >> 16 {
        0 => (0, inside),
        1 => (1, inside & 0xffff),
        _ => (2, inside & 0x1_ffff),
    };
    (context, region, offset / PAGE_WORDS, offset % PAGE_WORDS)
}

/// Returns the place of a page in [`Memory::recent`]: neighbours have different ones, the same pages of two contexts mostly.
#[inline(always)]
fn place_in_recent(page: u64) -> usize {
    const CONTEXT_PAGES: u64 = CONTEXT_SPAN / PAGE_WORDS as u64;
    let context = page / CONTEXT_PAGES;
    // Stack and EVM memory begin at powers of two.
    (page ^ page >> 7 ^ context.wrapping_mul(41)) as usize % RECENT
}

impl Memory {
    /// Forgets all words, and keeps the room they took for the next machine.
    pub(crate) fn clear(&mut self) {
        let mut pages = std::mem::take(&mut self.pages);
        pages.clear();
        *self = Self { pages, ..Self::default() };
    }

    /// Returns every page by context, region and number.
    fn sorted_pages(&self) -> BTreeMap<(u64, usize, usize), &Page> {
        let mut pages = BTreeMap::new();
        for (number, place) in &self.numbers {
            let Some(context) = self.contexts.get(*place as usize) else { continue };
            for (region, directory) in context.regions.iter().enumerate() {
                let used = directory.iter().enumerate().filter_map(|(page, at)| Some((page, at.checked_sub(1)?)));
                pages.extend(
                    used.filter_map(|(page, at)| Some(((*number, region, page), self.pages.get(at as usize)?))),
                );
            }
        }
        pages
    }

    /// Returns a word; zero if it was never written.
    #[inline]
    pub fn read(&self, address: u64) -> Fea {
        match self.page(address) {
            // A page begins with zeros.
            Some((page, word)) => page.words[word],
            None => fea::ZERO,
        }
    }

    /// Returns a word as [`Self::read`] does, and remembers its page.
    #[inline(always)]
    pub(crate) fn load(&mut self, address: u64) -> Fea {
        let number = address / PAGE_WORDS as u64;
        let (known, at) = self.recent[place_in_recent(number)];
        match self.pages.get(at as usize) {
            Some(page) if known == number => page.words[address as usize % PAGE_WORDS],
            _ => self.load_elsewhere(address),
        }
    }

    #[cold]
    #[inline(never)]
    fn load_elsewhere(&mut self, address: u64) -> Fea {
        let (context, region, page, word) = split(address);
        let at = self
            .place_of(context)
            .and_then(|context| self.contexts.get(context as usize)?.regions[region].get(page)?.checked_sub(1));
        let Some((at, page)) = at.and_then(|at| Some((at, self.pages.get(at as usize)?))) else { return fea::ZERO };
        let number = address / PAGE_WORDS as u64;
        self.recent[place_in_recent(number)] = (number, at);
        page.words[word]
    }

    /// Returns a word, `None` if it was never written.
    pub fn written(&self, address: u64) -> Option<Fea> {
        let (page, word) = self.page(address)?;
        (page.written >> word & 1 == 1).then(|| page.words[word])
    }

    #[inline(always)]
    fn page(&self, address: u64) -> Option<(&Page, usize)> {
        let (number, region, page, word) = split(address);
        let context = self.contexts.get(self.place_of(number)? as usize)?;
        let page = *context.regions[region].get(page)?;
        Some((self.pages.get((page as usize).wrapping_sub(1))?, word))
    }

    /// Writes a word.
    ///
    /// Fails once the memory of all pages would pass 1 GiB.
    #[inline(always)]
    pub fn write(&mut self, address: u64, value: &Fea) -> Result<(), Abort> {
        let number = address / PAGE_WORDS as u64;
        let (known, at) = self.recent[place_in_recent(number)];
        match self.pages.get_mut(at as usize) {
            Some(page) if known == number => {
                let word = address as usize % PAGE_WORDS;
                page.words[word] = *value;
                page.written |= 1 << word;
                Ok(())
            }
            _ => self.write_elsewhere(address, value),
        }
    }

    #[cold]
    #[inline(never)]
    fn write_elsewhere(&mut self, address: u64, value: &Fea) -> Result<(), Abort> {
        let (number, region, page, word) = split(address);
        let context = match self.place_of(number) {
            Some(place) => place,
            None => self.add_context(number)?,
        };
        self.last = (number, context);
        let directory = &mut self.contexts[context as usize].regions[region];
        let at = match directory.get(page) {
            Some(at) if *at > 0 => *at,
            _ => self.add_page(context, region, page)?,
        };
        let page_number = address / PAGE_WORDS as u64;
        self.recent[place_in_recent(page_number)] = (page_number, at - 1);
        let page = &mut self.pages[at as usize - 1];
        page.words[word] = *value;
        page.written |= 1 << word;
        Ok(())
    }

    /// Makes the context the one that is found fastest.
    pub(crate) fn enter(&mut self, number: u64) {
        if let Some(place) = self.place_of(number) {
            self.last = (number, place);
        }
    }

    /// Bytes that the pages take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn place_of(&self, number: u64) -> Option<u32> {
        if number == 0 {
            return Some(0);
        }
        if number == self.last.0 {
            return Some(self.last.1);
        }
        self.numbers.get(&number).copied()
    }

    fn add_context(&mut self, number: u64) -> Result<u32, Abort> {
        self.take(size_of::<Context>() + 16)?;
        let place = self.contexts.len() as u32;
        self.contexts.push(Context::default());
        self.numbers.insert(number, place);
        Ok(place)
    }

    fn add_page(&mut self, context: u32, region: usize, page: usize) -> Result<u32, Abort> {
        let missing = (page + 1).saturating_sub(self.contexts[context as usize].regions[region].len());
        self.take(size_of::<Page>() + missing * 4)?;
        self.pages.push(Page { words: [fea::ZERO; PAGE_WORDS], written: 0 });
        let at = self.pages.len() as u32;
        let directory = &mut self.contexts[context as usize].regions[region];
        if missing > 0 {
            directory.resize(page + 1, 0);
        }
        directory[page] = at;
        Ok(at)
    }

    fn take(&mut self, bytes: usize) -> Result<(), Abort> {
        self.bytes += bytes;
        if self.bytes > BYTES_MAX { Err(Abort::unspecified("the machine's memory is full")) } else { Ok(()) }
    }

    /// Returns a variable of one context.
    ///
    /// Fails if the program has no variable of that name.
    pub(crate) fn variable(&self, program: &Program, variable: Variable, context: u64) -> Result<Fea, Abort> {
        let offset = program.offset(variable).ok_or(Abort::unspecified("the ROM lacks a variable"))?;
        Ok(self.read(context_base(context).wrapping_add(offset)))
    }

    /// Returns `length` bytes of the EVM memory of a context, from `offset` on; nothing if they are more than 4 194 272
    /// (main-state-machine §9.9). Error 12 if a word is no number.
    pub fn bytes_at(&self, context: u64, offset: u64, length: u64) -> Result<Vec<u8>, Abort> {
        if length == 0 || length > PIECE_MAX {
            return Ok(Vec::new());
        }
        let (first, skipped) = (offset / 32, (offset % 32) as usize);
        let words = (skipped as u64 + length).div_ceil(32);
        let base = context_base(context).wrapping_add(EVM_MEMORY);
        let mut bytes = Vec::with_capacity(words as usize * 32);
        for word in 0..words {
            let at = first + word;
            // Beyond the region nothing was ever written: addresses there belong to the next context.
            let value = if at < EVM_MEMORY { fea::to_scalar(&self.read(base + at))? } else { U256::ZERO };
            bytes.extend_from_slice(&value.to_be_bytes::<32>());
        }
        bytes.drain(..skipped);
        bytes.truncate(length as usize);
        Ok(bytes)
    }

    /// Returns the words 0 to `count` − 1 of the stack of a context; those never written are left out
    /// (main-state-machine §9.6). Error 12 if a word is no number.
    pub fn stack(&self, context: u64, count: u16) -> Result<Vec<U256>, Abort> {
        let base = context_base(context).wrapping_add(STACK);
        (0..u64::from(count)).filter_map(|word| self.written(base + word)).map(|word| fea::to_scalar(&word)).collect()
    }

    /// Returns the words of the stack region of a context from relative address `from` on, up to the first never written
    /// and at most `count`: where forks up to 4 keep call data (main-state-machine §9.4).
    pub fn stack_words_from(&self, context: u64, from: u64, count: u64) -> Result<Vec<U256>, Abort> {
        let base = context_base(context).wrapping_add(STACK);
        (from..STACK)
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .map_while(|word| self.written(base + word))
            .map(|word| fea::to_scalar(&word))
            .collect()
    }
}

/// Returns the first address of a context. Contexts that do not fit do not arise: those of the machine are bound.
pub(crate) fn context_base(context: u64) -> u64 {
    context.wrapping_mul(CONTEXT_SPAN)
}
