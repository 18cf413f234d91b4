//! The tick thread and its shards.

use crate::director::Director;
use crate::frame::{Input, Snapshot};
use crate::sockets::{Connection, Inputs, Players};
use crate::windows::{Missed, Window};
use game_contracts::{Move, Moved, Played, Rules};
use hdrhistogram::Histogram;
use midflight::{Fault, Group, Host, Lease, Slot};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const TICKS_A_SECOND: u32 = 60;
/// After the end, for the last inputs to be played and every client to leave.
const CLOSING_MAX: u32 = 5 * TICKS_A_SECOND;

/// What the tick thread has seen.
pub(crate) struct Ticks {
    pub(crate) run: u64,
    pub(crate) missed: Missed,
    /// How much later than planned each began, in microseconds.
    pub(crate) late: Histogram<u64>,
    /// What each took, and what the switch points took that switched something.
    pub(crate) took: Histogram<u64>,
    pub(crate) switching: Histogram<u64>,
    pub(crate) moves: u64,
    /// Ticks of which not all shards were played by one version.
    pub(crate) mixed: u64,
    /// Points that a player should have and has not, or the other way round.
    pub(crate) points_lost: u64,
    /// Inputs that came out of their order.
    pub(crate) disordered: u64,
    /// Clients that were given up, or left before the end.
    pub(crate) dropped: u64,
    pub(crate) faults: Vec<Fault>,
}

pub(crate) struct Game {
    host: Host,
    group: Group,
    rules: Slot<dyn Rules>,
    shards: Vec<Shard>,
    played: Receiver<(Vec<usize>, Result<Played, Fault>)>,
    players: Vec<Player>,
    /// What keeps the connections going.
    sockets: Players,
    inputs: Inputs,
    ticks: Ticks,
}

/// One player, as the server knows it.
#[derive(Default)]
struct Player {
    at: u32,
    /// Not played yet. Of one player one is played in a tick.
    waiting: VecDeque<Input>,
    /// The number of the last input that was played, which is how many were: the points that the
    /// player must have.
    played: u64,
    points: u64,
    dropped: bool,
}

/// A shard's thread, which ends with this.
struct Shard {
    jobs: Sender<Job>,
}

/// One tick of one shard.
struct Job {
    lease: Arc<Lease>,
    players: Vec<usize>,
    moves: Vec<Move>,
}

impl Game {
    pub(crate) fn new(
        host: Host,
        rules: Slot<dyn Rules>,
        shards: u32,
        sockets: Players,
        inputs: Inputs,
    ) -> anyhow::Result<Self> {
        let (answers, played) = channel();
        let shard = |number: u32| {
            let (jobs, orders) = channel::<Job>();
            let (rules, answers) = (rules.clone(), answers.clone());
            let work = move || {
                for Job { lease, players, moves } in orders {
                    let played = lease.get(&rules).play(&moves);
                    // Before the answer: the tick thread comes to a switch point when it has all
                    // answers.
                    drop(lease);
                    if answers.send((players, played)).is_err() {
                        break;
                    }
                }
            };
            thread::Builder::new().name(format!("shard {number}")).spawn(work)?;
            anyhow::Ok(Shard { jobs })
        };
        let shards = (0..shards).map(shard).collect::<Result<_, _>>()?;
        let players = sockets.connections.iter().map(|_| Player::default()).collect();
        let histogram = || Histogram::new(3);
        let ticks = Ticks {
            run: 0,
            missed: Missed::default(),
            late: histogram()?,
            took: histogram()?,
            switching: histogram()?,
            moves: 0,
            mixed: 0,
            points_lost: 0,
            disordered: 0,
            dropped: 0,
            faults: Vec::new(),
        };
        let group = host.group("game");
        Ok(Game { host, group, rules, shards, played, players, sockets, inputs, ticks })
    }

    /// Sixty ticks a second for so long; and then until every client has heard of its last input.
    pub(crate) fn play(mut self, length: Duration, director: &Director, tells: bool) -> Ticks {
        let period = Duration::from_secs(1) / TICKS_A_SECOND;
        let planned = u32::try_from(length.as_nanos() / period.as_nanos()).unwrap_or(u32::MAX);
        let began = Instant::now();
        for tick in 0..planned.saturating_add(CLOSING_MAX) {
            let closing = tick >= planned;
            let window = Window::of(tick);
            if closing {
                director.stop();
            } else {
                director.enter(window);
            }
            if closing
                && director.has_stopped()
                && self.sockets.connections.iter().all(Connection::is_gone)
            {
                break;
            }
            let due = began + period * tick;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let late = due.elapsed();
            record(&mut self.ticks.late, late);
            self.ticks.missed.note(window, late > period);
            self.tick(tick.into(), closing);
            record(&mut self.ticks.took, due.elapsed().saturating_sub(late));
            if tells && tick % TICKS_A_SECOND == 0 {
                let Ticks { run, moves, missed, .. } = &self.ticks;
                eprintln!(
                    "tick {run}, {} missed, {moves} moves, {} switches",
                    missed.ticks(),
                    self.ticks.switching.len()
                );
            }
        }
        self.ticks
    }

    fn tick(&mut self, tick: u64, closing: bool) {
        self.ticks.run += 1;
        let began = Instant::now();
        // It is called between two calls, and so it is never refused.
        if self.host.switch_point().is_ok_and(|switched| switched > 0) {
            record(&mut self.ticks.switching, began.elapsed());
            self.count_points();
        }
        for (player, input) in self.inputs.take() {
            self.players[player].waiting.push_back(input);
        }
        self.play_moves();
        self.tell(tick, closing);
    }

    /// Did what was switched in get the points of all, of those as well who are not moving?
    fn count_points(&mut self) {
        let Game { group, rules, players, ticks, .. } = self;
        let counted = group.request(|r| {
            let rules = r.get(rules);
            for (number, player) in players.iter_mut().enumerate() {
                let points = rules.points(u32::try_from(number).unwrap_or(u32::MAX))?;
                ticks.has(player, points);
            }
            Ok(())
        });
        ticks.faults.extend(counted.err());
    }

    /// All shards at the same time, through one lease.
    fn play_moves(&mut self) {
        let lease = match self.group.lease() {
            Ok(lease) => Arc::new(lease),
            Err(fault) => return self.ticks.faults.push(fault),
        };
        let mut jobs: Vec<_> = self.shards.iter().map(|_| (Vec::new(), Vec::new())).collect();
        for (number, player) in self.players.iter_mut().enumerate() {
            let Some(input) = player.waiting.pop_front() else { continue };
            self.ticks.disordered += u64::from(input.number != player.played + 1);
            player.played = input.number;
            let (players, moves) = &mut jobs[number % self.shards.len()];
            let id = u32::try_from(number).unwrap_or(u32::MAX);
            players.push(number);
            moves.push(Move { player: id, at: player.at, thrust: input.thrust });
        }
        let mut sent = 0;
        for (shard, (players, moves)) in self.shards.iter().zip(jobs) {
            let job = Job { lease: Arc::clone(&lease), players, moves };
            sent += usize::from(shard.jobs.send(job).is_ok());
        }
        let mut generation = None;
        let answers: Vec<_> = self.played.iter().take(sent).collect();
        for (players, played) in answers {
            match played {
                Ok(played) => {
                    let first = *generation.get_or_insert(played.generation);
                    self.ticks.mixed += u64::from(first != played.generation);
                    players
                        .iter()
                        .zip(&*played.moved)
                        .for_each(|(player, moved)| self.moved(*player, *moved));
                }
                Err(fault) => self.ticks.faults.push(fault),
            }
        }
    }

    fn moved(&mut self, player: usize, moved: Moved) {
        let player = &mut self.players[player];
        (player.at, self.ticks.moves) = (moved.at, self.ticks.moves + 1);
        player.points += 1;
        self.ticks.has(player, moved.points);
    }

    /// Snapshots for all. A client that can't keep up is let go.
    fn tell(&mut self, tick: u64, closing: bool) {
        let place = |player: &Player| u16::try_from(player.at).unwrap_or(u16::MAX).to_le_bytes();
        let places: Vec<_> = self.players.iter().flat_map(place).collect();
        for (player, connection) in self.players.iter_mut().zip(&self.sockets.connections) {
            let snapshot = Snapshot { tick, played: player.played, points: player.points, closing };
            let left = closing && connection.is_gone();
            if !player.dropped && !left && !connection.send(snapshot.encode(&places)) {
                player.dropped = true;
                self.ticks.dropped += u64::from(!closing);
            }
        }
    }
}

impl Ticks {
    /// The rules say that a player has `points`. What is lost is lost once.
    fn has(&mut self, player: &mut Player, points: u64) {
        self.points_lost += points.abs_diff(player.points);
        player.points = points;
    }
}

fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    histogram.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
}
