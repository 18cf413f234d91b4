//! The hash tables of the dynamic symbols: what they must be follows from the symbols' names alone.
//!
//! The loader walks them without a look at their ends. Each number in them is derived here again,
//! from the names, and compared.

use super::dynamic::only;
use super::headers::{Elf, Section, inconsistent};
use super::symbols::Table;
use crate::refusal::Refusal;
use object::LittleEndian as Little;
use object::elf;
use object::read::elf::Sym;

const BITS: u32 = 64;

pub(super) fn check(elf: &Elf<'_>, table: &Table<'_>) -> Result<(), Refusal> {
    if let Some(section) = only(elf, elf::SHT_GNU_HASH)? {
        let words = Words::of(elf, section)?;
        check_gnu(&words, table).map_err(|what| inconsistent(format!("{section} {what}")))?;
    }
    if let Some(section) = only(elf, elf::SHT_HASH)? {
        let words = Words::of(elf, section)?;
        check_old(&words, table).map_err(|what| inconsistent(format!("{section} {what}")))?;
    }
    Ok(())
}

struct Words(Vec<u32>);

impl Words {
    fn of(elf: &Elf<'_>, section: &Section<'_>) -> Result<Words, Refusal> {
        let bytes = elf.bytes(section.range.offset, section.range.in_file)?;
        Ok(Words(bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()))
    }

    fn get(&self, at: usize) -> u32 {
        self.0.get(at).copied().unwrap_or_default()
    }
}

/// Four words, then words of 64 bits that say which hashes are not there, then the first symbol of
/// each bucket, then the hash of each symbol.
fn check_gnu(words: &Words, table: &Table<'_>) -> Result<(), String> {
    let [buckets, first, bloom, shift] = [0, 1, 2, 3].map(|at| words.get(at));
    let count = table.all.len();
    let (buckets, first, bloom) = (buckets as usize, first as usize, bloom as usize);
    if buckets == 0 || first == 0 || first > count || !bloom.is_power_of_two() || shift >= u32::BITS
    {
        return Err(format!("has {buckets} buckets from symbol {first} of {count}"));
    }
    let (at_buckets, hashed) = (4 + bloom.saturating_mul(2), count - first);
    let at_chains = at_buckets.saturating_add(buckets);
    let expected = at_chains.saturating_add(hashed);
    // Without a symbol in it the table may end earlier or later.
    if words.0.len() != expected && (hashed != 0 || words.0.len() < at_chains) {
        return Err(format!("has {} words, expected {expected}", words.0.len()));
    }
    let mut filter = vec![0_u64; bloom];
    let mut starts = vec![0_usize; buckets];
    let mut previous = None;
    for (index, (symbol, name)) in table.all.iter().zip(&table.names).enumerate() {
        let is_defined = symbol.st_shndx(Little) != elf::SHN_UNDEF;
        if index < first {
            if is_defined && index >= table.locals {
                return Err(format!("does not have symbol {index}"));
            }
            continue;
        }
        let hash = elf::gnu_hash(name);
        let bucket = hash as usize % buckets;
        let chain = words.get(at_chains + index - first);
        let next = table.names.get(index + 1).map(|name| elf::gnu_hash(name) as usize % buckets);
        let is_last = next != Some(bucket);
        let in_order = previous.is_none_or(|previous| previous <= bucket);
        if !is_defined || !in_order || chain != (hash & !1) | u32::from(is_last) {
            return Err(format!("has another hash for symbol {index} ({})", table.name(index)));
        }
        if previous != Some(bucket) {
            starts[bucket] = index;
        }
        previous = Some(bucket);
        let bits = 1_u64 << (hash % BITS) | 1_u64 << ((hash >> shift) % BITS);
        filter[(hash / BITS) as usize & (bloom - 1)] |= bits;
    }
    let found = |at: usize| u64::from(words.get(at)) | u64::from(words.get(at + 1)) << 32;
    if (0..bloom).any(|word| filter[word] != found(4 + 2 * word)) {
        return Err("leaves out other hashes than those that no symbol has".to_owned());
    }
    match (0..buckets).find(|bucket| starts[*bucket] != words.get(at_buckets + bucket) as usize) {
        Some(bucket) => Err(format!("has another first symbol in bucket {bucket}")),
        None => Ok(()),
    }
}

/// Two words, then the first symbol of each bucket, then the symbol that follows each symbol.
fn check_old(words: &Words, table: &Table<'_>) -> Result<(), String> {
    let (buckets, count) = (words.get(0) as usize, table.all.len());
    let expected = buckets.saturating_add(2).saturating_add(count);
    if buckets == 0 || words.get(1) as usize != count || words.0.len() != expected {
        return Err(format!(
            "has {} words for {count} symbols, expected {expected}",
            words.0.len()
        ));
    }
    let mut seen = vec![false; count];
    for bucket in 0..buckets {
        let mut index = words.get(2 + bucket) as usize;
        while index != 0 {
            let name = table.names.get(index);
            let belongs = name.is_some_and(|name| elf::hash(name) as usize % buckets == bucket);
            if !belongs || std::mem::replace(&mut seen[index], true) {
                return Err(format!("has symbol {index} in bucket {bucket}"));
            }
            index = words.get(2 + buckets + index) as usize;
        }
    }
    let is_defined = |index: &usize| table.all[*index].st_shndx(Little) != elf::SHN_UNDEF;
    match (table.locals..count).filter(is_defined).find(|index| !seen[*index]) {
        Some(index) => Err(format!("does not have symbol {index} ({})", table.name(index))),
        None => Ok(()),
    }
}
