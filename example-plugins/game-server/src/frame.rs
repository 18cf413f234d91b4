//! What goes over the sockets: inputs of a fixed size, and snapshots with their length before them.

/// One input, as a client sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Input {
    /// From 1, without a gap.
    pub(crate) number: u64,
    pub(crate) thrust: i32,
}

impl Input {
    pub(crate) const BYTES: usize = 12;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..].copy_from_slice(&self.thrust.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let mut bytes = &bytes[..];
        Input {
            number: u64::from_le_bytes(take(&mut bytes)),
            thrust: i32::from_le_bytes(take(&mut bytes)),
        }
    }
}

/// What a client is told of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) tick: u64,
    /// The last of its inputs that was played.
    pub(crate) played: u64,
    pub(crate) points: u64,
    /// The game is over: no more inputs, and whoever has heard of its last one leaves.
    pub(crate) closing: bool,
}

/// The head of a snapshot, before the places of all players, two bytes each.
const HEAD: usize = 8 + 8 + 8 + 1;
/// Longer is no snapshot.
pub(crate) const SNAPSHOT_MAX: usize = HEAD + 2 * 5_000;

impl Snapshot {
    pub(crate) fn encode(self, places: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEAD + places.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(4 + HEAD + places.len());
        bytes.extend(length.to_le_bytes());
        bytes.extend([self.tick, self.played, self.points].into_iter().flat_map(u64::to_le_bytes));
        bytes.push(u8::from(self.closing));
        bytes.extend(places);
        bytes
    }

    /// Of what comes after the length.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEAD {
            return None;
        }
        let mut number = || u64::from_le_bytes(take(&mut bytes));
        let (tick, played, points) = (number(), number(), number());
        Some(Snapshot { tick, played, points, closing: bytes[0] != 0 })
    }
}

/// There are as many.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let (head, rest) = bytes.split_at(N);
    taken.copy_from_slice(head);
    *bytes = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::{Input, Snapshot};

    #[test]
    fn what_is_written_is_read() {
        let input = Input { number: 1 << 40, thrust: -7 };
        assert_eq!(Input::decode(&input.encode()), input);
        let snapshot = Snapshot { tick: 3, played: 1 << 40, points: 9, closing: true };
        let bytes = snapshot.encode(&[1, 2, 3, 4]);
        assert_eq!(bytes[..4], 29_u32.to_le_bytes());
        assert_eq!(Snapshot::decode(&bytes[4..]), Some(snapshot));
        assert_eq!(Snapshot::decode(&bytes[4..12]), None);
    }
}
