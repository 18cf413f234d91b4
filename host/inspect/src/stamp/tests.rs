use super::*;

/// Mark, word and hash, as `export!` leaves them.
pub(crate) fn unstamped() -> Vec<u8> {
    [MARK_INVERTED.map(|byte| !byte).as_slice(), &UNSTAMPED, &[0; OUT_LEN]].concat()
}

/// Something like a library, of more chunks than one, with its room over the end of the first.
pub(crate) fn library() -> Vec<u8> {
    let mut file: Vec<u8> = (0..3000_u32).map(|at| (at % 251) as u8).collect();
    file[..4].copy_from_slice(b"\x7fELF");
    file[16..18].copy_from_slice(&[3, 0]);
    file[MARK..][..unstamped().len()].copy_from_slice(&unstamped());
    file
}

const MARK: usize = 980;
const WORD: usize = MARK + MARK_BYTES;
const SUM: usize = WORD + WORD_BYTES;

fn stamped() -> Vec<u8> {
    let mut file = library();
    assert_eq!(stamp(&mut file).unwrap(), Stamping::New);
    file
}

#[track_caller]
fn check(refused: Result<impl std::fmt::Debug, Refusal>, code: Code, reason: &str) {
    let refusal = refused.expect_err("accepted");
    assert_eq!(refusal.code(), code, "{refusal}");
    assert!(refusal.reason().contains(reason), "{refusal}");
}

#[test]
fn a_stamp_is_the_hash_of_the_file_without_it() {
    assert_eq!(verify(&library()).unwrap(), Stamp::Unstamped);
    let file = stamped();
    assert_eq!(verify(&file).unwrap(), Stamp::Stamped);
    let mut zeroed = library();
    zeroed[WORD..SUM].fill(0);
    assert_eq!(file[SUM..SUM + OUT_LEN], *blake3::hash(&zeroed).as_bytes());
    assert_eq!(file[..WORD], library()[..WORD]);
    assert_eq!(file[SUM + OUT_LEN..], library()[SUM + OUT_LEN..]);
}

#[test]
fn a_stamp_is_put_in_once_renewed_where_the_file_has_changed_and_taken_out() {
    let mut file = stamped();
    assert_eq!(stamp(&mut file).unwrap(), Stamping::Unchanged);
    assert_eq!(file, stamped());
    file[2000] ^= 1;
    check(verify(&file), Code::FileDamaged, "it was changed after that");
    assert_eq!(stamp(&mut file).unwrap(), Stamping::Renewed);
    assert_eq!(verify(&file).unwrap(), Stamp::Stamped);
    assert_ne!(file[SUM..SUM + OUT_LEN], stamped()[SUM..SUM + OUT_LEN]);
    file[2000] ^= 1;
    unstamp(&mut file).unwrap();
    assert_eq!(file, library());
}

#[test]
fn no_bit_of_a_stamped_file_can_be_flipped() {
    let mut file = stamped();
    for bit in 0..8 * file.len() {
        let flip = 1 << (bit % 8);
        file[bit / 8] ^= flip;
        let code = verify(&file).expect_err("accepted").code();
        match (MARK..WORD).contains(&(bit / 8)) {
            // Without a mark it has no stamp: `inspect` demands one.
            true => assert_eq!(code, Code::NotAPlugin, "bit {bit}"),
            false => assert_eq!(code, Code::FileDamaged, "bit {bit}"),
        }
        file[bit / 8] ^= flip;
    }
}

#[test]
fn a_stamped_file_that_is_cut_or_continued_is_damaged() {
    let file = stamped();
    for length in 0..file.len() {
        match length < WORD {
            true => check(verify(&file[..length]), Code::NotAPlugin, "no room for a stamp"),
            false => check(verify(&file[..length]), Code::FileDamaged, ""),
        }
    }
    check(verify(&file[..SUM + 1]), Code::FileDamaged, "it ends within the room for its stamp");
    for more in [&[0][..], &[0; 4096], b"more"] {
        check(verify(&[&file, more].concat()), Code::FileDamaged, "it was changed after that");
    }
    let twice = [file.as_slice(), &file].concat();
    check(verify(&twice), Code::FileDamaged, "at byte 0x3d4 and at byte 0xf8c, a plugin has one");
}

#[test]
fn what_is_neither_stamped_nor_unstamped_is_damaged() {
    for bit in 0..8 * WORD_BYTES {
        for mut file in [library(), stamped()] {
            file[WORD + bit / 8] ^= 1 << (bit % 8);
            check(verify(&file), Code::FileDamaged, "neither stamped nor unstamped");
            check(stamp(&mut file), Code::FileDamaged, "neither stamped nor unstamped");
            check(unstamp(&mut file), Code::FileDamaged, "neither stamped nor unstamped");
        }
    }
    for word in [[0; WORD_BYTES], [0xff; WORD_BYTES], UNSTAMPED.map(|byte| !byte)] {
        let mut file = stamped();
        file[WORD..SUM].copy_from_slice(&word);
        check(verify(&file), Code::FileDamaged, "neither stamped nor unstamped");
    }
    let mut other = stamped();
    other[WORD..SUM].copy_from_slice(&UNSTAMPED);
    check(verify(&other), Code::FileDamaged, "says unstamped, and has a hash");
    let mut other = library();
    other[WORD..SUM].copy_from_slice(&STAMPED);
    check(verify(&other), Code::FileDamaged, "with the hash 000000000000…, and has");
}

#[test]
fn what_has_no_room_is_not_stamped_and_left_as_it_is() {
    let refused = |change: &dyn Fn(&mut Vec<u8>), code, reason| {
        let mut file = library();
        change(&mut file);
        let before = file.clone();
        check(stamp(&mut file), code, reason);
        check(unstamp(&mut file), code, reason);
        assert_eq!(file, before);
    };
    refused(&|file| *file = b"text".to_vec(), Code::NotElf, "no ELF file");
    refused(&|file| file.clear(), Code::NotElf, "no ELF file");
    refused(&|file| file.truncate(4), Code::WrongFileType, "no shared library");
    // What a compiler leaves beside the library: an object file, and an archive of some.
    refused(&|file| file[16] = 1, Code::WrongFileType, "no shared library");
    refused(&|file| file[..8].copy_from_slice(b"!<arch>\n"), Code::NotElf, "no ELF file");
    refused(
        &|file| file[MARK] ^= 1,
        Code::NotAPlugin,
        "no room for a stamp, which `export!` makes",
    );
    check(verify(b"text"), Code::NotAPlugin, "it is no ELF file, and has no room");
}

#[test]
fn both_hashes_are_those_of_the_whole() {
    let bytes: Vec<u8> = (0..20_000_u32).map(|at| ((at * 7919) >> 5) as u8).collect();
    let lengths = [1, 63, 64, 1023, 1024, 1025, 2048, 2049, 3072, 4097, 8192, 16_383, 16_384];
    for length in lengths {
        let bytes = &bytes[..length];
        let starts = [0, 1, 500, 1000, 1023, 1024, 1025, 2000, 4090, length - 1];
        let holes = starts.iter().flat_map(|start| [0, 1, 48, 5000].map(|size| (*start, size)));
        for (start, size) in holes {
            let zeroed = start.min(length)..(start + size).min(length);
            let mut copy = bytes.to_vec();
            copy[zeroed.clone()].fill(0);
            let expected = Hashes { plain: blake3::hash(bytes), zeroed: blake3::hash(&copy) };
            assert_eq!(Hashes::of(bytes, zeroed.clone()), expected, "{zeroed:?} of {length}");
        }
    }
}

/// A plugin may link this crate. A second mark in its file would make each of its stamps damaged.
#[test]
fn a_program_that_looks_for_marks_has_none() {
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(Room::find(&program).unwrap().is_none());
}
