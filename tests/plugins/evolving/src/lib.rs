//! The plugin of the evolving contracts, and the mirror of everything that can cross.

use evolving_contracts::{
    Evolving, Grown, Host, Keeper, Leaf, Limits, Mirror, Node, Reason, Slices, Std, Tree, Unit,
};
use midflight_plugin::{
    CallError, Context, List, Plugin, Service, Sink, StartError, TextSink, plugin,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

const BUILD: u32 = cfg_select! {
    feature = "older" => { 1 }
    feature = "newer" => { 3 }
    _ => { 2 }
};

/// The instance.
#[plugin(implements(Evolving, Mirror))]
pub struct TheEvolving {
    host: Service<dyn Host>,
    keeper: Service<dyn Keeper>,
}

impl Plugin for TheEvolving {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        Ok(TheEvolving { host: cx.service()?, keeper: cx.service()? })
    }
}

impl Evolving for TheEvolving {
    fn build(&self) -> u32 {
        BUILD
    }

    fn show(&self, limits: &Limits, more: Vec<Limits>) -> String {
        format!("{limits:?} {more:?}")
    }

    fn limits(&self) -> Limits {
        Limits {
            name: "the plugin's".into(),
            orders_max: BUILD,
            #[cfg(not(feature = "older"))]
            burst_max: 8,
            #[cfg(feature = "newer")]
            tags: ["new".into()].into_iter().collect(),
        }
    }

    fn reason(&self, reason: Reason) -> (Reason, String) {
        let latest = cfg_select! {
            feature = "older" => { Reason::Closed }
            feature = "newer" => { Reason::Auction }
            _ => { Reason::Halted }
        };
        (latest, format!("{reason:?}"))
    }

    fn ask(&self, number: u64) -> Vec<String> {
        vec![
            format!("{:?}", self.host.number(number)),
            #[cfg(not(feature = "older"))]
            format!("{:?}", self.host.double(number)),
            #[cfg(feature = "newer")]
            format!("{:?}", self.host.triple(number)),
            #[cfg(feature = "newer")]
            self.host.bare().map_or_else(|fault| fault.to_string(), |answer| answer.to_string()),
        ]
    }

    #[cfg(not(feature = "older"))]
    fn bare(&self) -> u32 {
        BUILD
    }

    #[cfg(feature = "newer")]
    fn tenfold(&self) -> u32 {
        BUILD * 10 + 5
    }
}

// What it gives away, to the host's service and as its result, it has made itself: what came is
// only read and dropped.
impl Mirror for TheEvolving {
    fn lent(
        &self,
        tree: &Tree,
        grown: &Grown,
        maybe: Option<&Leaf>,
    ) -> (Tree, Grown, Option<Leaf>) {
        let own = (tree.clone(), grown.clone(), maybe.cloned());
        let kept = self.keeper.lent(&own.0, &own.1, own.2.as_ref());
        assert_eq!(kept.expect("the keeper's copy"), own);
        own
    }

    fn slices(&self, nodes: &[Node], numbers: &[u32], text: &str, maybe: Option<&str>) -> Slices {
        let own: Slices = (nodes.into(), numbers.into(), text.into(), maybe.map(str::to_owned));
        let kept = self.keeper.slices(&own.0, &own.1, &own.2, own.3.as_deref());
        assert_eq!(kept.expect("the keeper's copy"), own);
        own
    }

    fn owned(&self, tree: Tree, std: Std) -> (Tree, Std) {
        let kept = self.keeper.owned(tree.clone(), std.clone()).expect("the keeper's copy");
        assert!(kept == (tree, std));
        kept.clone()
    }

    fn refused(&self, mut nodes: List<Node>) -> Result<Unit, List<Node>> {
        let behind = nodes.len() + 1..nodes.len() + 200;
        let drained = catch_unwind(AssertUnwindSafe(|| drop(nodes.drain(behind))));
        assert!(drained.is_err(), "nothing is behind a list");
        let kept = self.keeper.refused(nodes.clone()).map_err(|error| match error {
            CallError::Declined(nodes) => nodes,
            CallError::Fault(fault) => panic!("{fault}"),
        });
        assert_eq!(kept, Err(nodes));
        kept.clone()
    }

    fn written(&self, text: &str, bytes: &[u8], mut out: TextSink<'_>, mut more: Sink<'_>) {
        // Into memory of this side first, and then on into the caller's.
        let (mut own, mut own_bytes) = (String::new(), Vec::new());
        self.keeper.written(text, bytes, &mut own, &mut own_bytes).expect("the keeper's text");
        out.append(&own);
        more.append(&own_bytes);
        self.keeper.written(text, bytes, out, more).expect("the keeper's text");
    }
}
