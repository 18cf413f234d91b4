//! A plugin that hands out objects and leaves callbacks. Its features choose the build.

use handing_contracts::{Board, End, Handing, Listener, Session};
use midflight_plugin::{Callback, Context, Plugin, Service, StartError, plugin};
use std::sync::Mutex;

const BUILD: u32 = if cfg!(feature = "v2") { 2 } else { 1 };

midflight_plugin::export!(
    TheHanding,
    name = "handing",
    version = if cfg!(feature = "v2") { "2.0.0" } else { "1.0.0" }
);

/// The instance.
#[plugin(implements(Handing))]
pub struct TheHanding {
    board: Service<dyn Board>,
}

/// It is never dropped, as statics are.
static KEPT: Mutex<Option<Callback<dyn Listener>>> = Mutex::new(None);

impl Plugin for TheHanding {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        let board = cx.service::<dyn Board>()?;
        board.subscribe(left(&board, End::Says))?;
        if cfg!(feature = "fails") {
            return Err(StartError::new("as it is told to"));
        }
        Ok(TheHanding { board })
    }
}

impl Drop for TheHanding {
    fn drop(&mut self) {
        let _ = self.board.dropped(BUILD, 100);
    }
}

/// What is left with the board, and what is handed out: both are one type, and differ in who holds
/// whom.
struct Made {
    board: Service<dyn Board>,
    end: End,
}

fn left(board: &Service<dyn Board>, end: End) -> Callback<dyn Listener> {
    Callback::new(Made { board: board.clone(), end })
}

impl TheHanding {
    fn session(&self, end: End) -> Box<dyn Session> {
        Box::new(Made { board: self.board.clone(), end })
    }
}

impl Handing for TheHanding {
    fn build(&self) -> u32 {
        BUILD
    }

    fn open(&self, end: End) -> Box<dyn Session> {
        self.session(end)
    }

    fn find(&self, there: bool) -> Option<Box<dyn Session>> {
        there.then(|| self.session(End::Says))
    }

    fn check(&self, there: bool) -> Result<Box<dyn Session>, String> {
        self.find(there).ok_or_else(|| "none".to_owned())
    }

    fn look(&self, there: Option<bool>) -> Result<Option<Box<dyn Session>>, String> {
        there.map(|there| self.find(there)).ok_or_else(|| "not asked".to_owned())
    }

    fn subscribe(&self, end: End) {
        self.board.subscribe(left(&self.board, end)).expect("the board takes it");
    }

    fn keep(&self) {
        self.subscribe(End::Says);
        let back = self.board.take_back().expect("the board answers");
        *KEPT.lock().expect("no panic") = back;
    }

    fn call_kept(&self) -> String {
        match KEPT.lock().expect("no panic").as_ref().map(|kept| kept.tick(7)) {
            Some(Ok(answer)) => answer.to_string(),
            Some(Err(fault)) => fault.code().to_owned(),
            None => "none".to_owned(),
        }
    }

    fn call(&self, listener: Callback<dyn Listener>) -> Result<u64, String> {
        listener.tick(3).map_err(|fault| fault.code().to_owned())
    }

    fn feed(&self) -> Result<u64, String> {
        let feed = self.board.feed().map_err(|fault| fault.to_string())?;
        let feed = feed.ok_or("there is none")?;
        feed.next().map_err(|fault| fault.to_string())?;
        feed.clone().next().map_err(|fault| fault.to_string())
    }

    fn subscribe_late(&self, token: u64) {
        let board = self.board.clone();
        std::thread::spawn(move || {
            board.wait(token).expect("the board lets go");
            board.subscribe(left(&board, End::Says)).expect("the board takes it");
            board.wait(token + 1).expect("the board lets go");
        });
    }
}

impl Session for Made {
    fn build(&self) -> u32 {
        BUILD
    }

    fn through(&self) -> u32 {
        self.board.ask().expect("an answer")
    }

    fn child(&self) -> Box<dyn Session> {
        Box::new(Made { board: self.board.clone(), end: End::Says })
    }

    fn panic(&self) {
        panic!("a session panics");
    }
}

impl Listener for Made {
    fn tick(&self, number: u64) -> u64 {
        u64::from(BUILD) * 1000 + number
    }

    fn through(&self) -> u32 {
        self.board.ask().expect("an answer")
    }

    fn panic(&self) -> u64 {
        panic!("a listener panics");
    }

    fn wait(&self, token: u64) -> u32 {
        self.board.wait(token).expect("the board lets go");
        BUILD
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let told = match self.end {
            End::Asks => self.board.ask().unwrap_or(0),
            End::Waits(token) => {
                let _ = self.board.wait(token);
                self.board.ask().unwrap_or(0)
            }
            End::Says | End::Panics => 0,
        };
        let _ = self.board.dropped(BUILD, told);
        if self.end == End::Panics {
            panic!("a drop panics");
        }
    }
}
