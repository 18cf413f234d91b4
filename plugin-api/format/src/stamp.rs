//! The stamp: room in a plugin's file for the hash of that file.
//!
//! The linker makes the room, `midflight stamp` fills it in. A reader finds it by a mark, wherever
//! a linker, `strip` or `patchelf` has put it, so that it needs to believe nothing of the file to
//! see whether the file is whole.

/// An ELF note, in a section of its own. Linkers keep notes that nothing refers to.
///
/// After the note's header come the mark, one of two words, and the hash: 64 bytes.
#[repr(C, align(4))]
#[derive(Debug)]
pub struct StampNote {
    name_bytes: u32,
    text_bytes: u32,
    kind: u32,
    name: [u8; 16],
    mark: [u8; 16],
    word: [u8; 16],
    hash: [u8; 32],
}

impl StampNote {
    /// Room for a stamp, and none in it. A constant, not a function: the mark is nowhere but where
    /// this is used.
    pub const UNSTAMPED: StampNote = StampNote {
        name_bytes: 16,
        text_bytes: 64,
        kind: crate::FORMAT,
        name: *b"midflight-stamp\0",
        mark: inverted(MARK_INVERTED),
        word: UNSTAMPED,
        hash: [0; 32],
    };
}

/// The mark with each bit inverted: what looks for marks must not have one itself. 16 random bytes.
pub const MARK_INVERTED: [u8; 16] = [
    0xd3, 0xe1, 0xd6, 0x66, 0xaa, 0x06, 0x2a, 0x96, 0xc7, 0x1a, 0x69, 0x1c, 0xa3, 0x62, 0x05, 0x5e,
];

/// The word of a file that has no stamp yet: its hash is zeros. Random, as is [`STAMPED`].
pub const UNSTAMPED: [u8; 16] = [
    0x73, 0xa1, 0x81, 0x3b, 0x47, 0x8e, 0x05, 0xc4, 0x1e, 0xa3, 0x37, 0x39, 0xce, 0x7d, 0x0f, 0x1f,
];

/// The word of a file that has one. It differs from [`UNSTAMPED`] in 81 of 128 bits, so no damage
/// turns one into the other.
pub const STAMPED: [u8; 16] = [
    0xc7, 0xdf, 0x3c, 0x05, 0xb8, 0xdd, 0x8f, 0xd9, 0xd9, 0x58, 0x41, 0x05, 0xc3, 0x81, 0xe8, 0xa6,
];

const fn inverted(mut bytes: [u8; 16]) -> [u8; 16] {
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = !bytes[at];
        at += 1;
    }
    bytes
}

// All bits that differ would have to be flipped, and no others.
const _: () = {
    let (mut bits, mut at) = (0, 0);
    while at < STAMPED.len() {
        bits += (STAMPED[at] ^ UNSTAMPED[at]).count_ones();
        at += 1;
    }
    assert!(bits == 81);
};
