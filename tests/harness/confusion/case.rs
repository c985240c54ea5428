//! A case as data: topology, traffic, what the node must decide.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use serde_json::Value;

use crate::traffic::Sender;
use crate::truth::Truth;
use crate::{Network, Topology};

/// Something done between two sends.
pub(super) type Act = Arc<dyn Fn(&Network) -> Result<()> + Send + Sync>;
type Watch = Arc<dyn Fn(&Network, &mut Truth) -> Result<()> + Send + Sync>;
type Prepare = Arc<dyn Fn(&Network) -> Result<Box<dyn Any>> + Send + Sync>;

/// What happens, in order.
#[derive(Clone)]
pub(super) enum Step {
    /// Sends the flow with this number.
    Send(usize),
    /// Changes the lab, or waits for something.
    Act(Act),
}

/// A topology, traffic through its node, and the decisions that the node must take.
#[derive(Clone)]
#[must_use = "a case is only a description until it is run"]
pub struct Case {
    pub(super) name: String,
    pub(super) topology: Topology,
    pub(super) node: String,
    pub(super) echoes: Vec<(String, String)>,
    pub(super) args: Vec<String>,
    pub(super) flows: Vec<Flow>,
    pub(super) steps: Vec<Step>,
    pub(super) watch: Vec<Watch>,
    pub(super) prepare: Vec<Prepare>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("flows", &self.flows)
            .finish_non_exhaustive()
    }
}

impl Case {
    /// A case whose node is the role `n1`. Counters are put at the far end of each veth of it.
    pub fn new(name: &str, topology: Topology) -> Self {
        Self {
            name: name.to_owned(),
            topology,
            node: "n1".to_owned(),
            echoes: Vec::new(),
            args: Vec::new(),
            flows: Vec::new(),
            steps: Vec::new(),
            watch: Vec::new(),
            prepare: Vec::new(),
        }
    }

    /// Its name, as the table shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Another role than `n1` runs tracer.
    pub fn node(mut self, role: &str) -> Self {
        role.clone_into(&mut self.node);
        self
    }

    /// Echo servers of `role` at `address`: UDP port 7, TCP port 8.
    pub fn echo(mut self, role: &str, address: &str) -> Self {
        self.echoes.push((role.to_owned(), address.to_owned()));
        self
    }

    /// Arguments of `tracer check`, for example a filter.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Sends a flow when those before are done, and expects what it says.
    pub fn flow(mut self, flow: Flow) -> Self {
        self.steps.push(Step::Send(self.flows.len()));
        self.flows.push(flow);
        self
    }

    /// A flow whose packets an [`act`](Self::act) sends.
    pub fn expect(mut self, flow: Flow) -> Self {
        self.flows.push(flow);
        self
    }

    /// Sends the flow called `name` once more. It needs a fixed source port to be the same flow.
    pub fn again(mut self, name: &str) -> Self {
        let at = self.flows.iter().position(|flow| flow.name == name);
        // an unknown name is found when the case is run
        self.steps.push(Step::Send(at.unwrap_or(usize::MAX)));
        self
    }

    /// Does something between two sends: changes a route, waits for a neighbour.
    pub fn act(mut self, act: impl Fn(&Network) -> Result<()> + Send + Sync + 'static) -> Self {
        self.steps.push(Step::Act(Arc::new(act)));
        self
    }

    /// [`act`](Self::act): an `ip` command in the namespace of `role`.
    pub fn ip(self, role: &str, command: &str) -> Self {
        let (role, command) = (role.to_owned(), command.to_owned());
        self.act(move |network| {
            let argv: Vec<&str> = std::iter::once("ip").chain(command.split(' ')).collect();
            network.ns(&role)?.exec(&argv).map(drop)
        })
    }

    /// Done before tracer starts; what it makes stays until the case is over: foreign programs.
    pub fn with<T: 'static>(
        mut self,
        prepare: impl Fn(&Network) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        self.prepare
            .push(Arc::new(move |network| Ok(Box::new(prepare(network)?))));
        self
    }

    /// Counts at more places: [`Truth::watch`].
    pub fn watch(
        mut self,
        watch: impl Fn(&Network, &mut Truth) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.watch.push(Arc::new(watch));
        self
    }
}

/// One flow of a case.
#[derive(Debug, Clone)]
#[must_use = "a flow is only a description"]
pub struct Flow {
    pub(super) name: String,
    pub(super) from: String,
    pub(super) sender: Option<Sender>,
    pub(super) seen: Value,
    pub(super) on_wire: Option<Value>,
    pub(super) request: Option<Wanted>,
    pub(super) reply: Option<Wanted>,
}

impl Flow {
    /// A flow called `name` from the role `from`.
    pub fn new(name: &str, from: &str, sender: impl Into<Sender>) -> Self {
        Self {
            name: name.to_owned(),
            from: from.to_owned(),
            sender: Some(sender.into()),
            ..Self::of_act(name)
        }
    }

    /// A flow that an act sends: [`Case::expect`].
    pub fn of_act(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            from: String::new(),
            sender: None,
            seen: Value::Null,
            on_wire: None,
            request: None,
            reply: None,
        }
    }

    /// The fields by which the flow is found in tracer's report, and, unless
    /// [`on_wire`](Self::on_wire) says otherwise, among the packets that left: `proto`, `src`, `dst`,
    /// `dport`. The port that it was really sent from is added, unless `sport` is given.
    pub fn seen_as(self, seen: Value) -> Self {
        Self { seen, ..self }
    }

    /// How the request's packets look after they left, where they were translated or encapsulated.
    pub fn on_wire(self, seen: Value) -> Self {
        Self {
            on_wire: Some(seen),
            ..self
        }
    }

    /// What must be decided about the direction that was sent.
    pub fn request(self, wanted: Wanted) -> Self {
        Self {
            request: Some(wanted),
            ..self
        }
    }

    /// What must be decided about the answers.
    pub fn reply(self, wanted: Wanted) -> Self {
        Self {
            reply: Some(wanted),
            ..self
        }
    }
}

/// What must come of the packets of one direction.
#[derive(Debug, Clone)]
#[must_use = "it is only a description"]
pub struct Wanted {
    pub(super) leaves: Leaves,
    pub(super) decisions: Vec<(Option<String>, Value)>,
    pub(super) also: Option<Value>,
    pub(super) route_get: Option<String>,
    pub(super) exact: bool,
}

/// By which devices packets leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaves {
    /// By exactly these.
    By(Vec<String>),
    /// By one or more of these; which is the kernel's choice, and is counted.
    Among(Vec<String>),
    /// Nothing leaves.
    Not,
    /// By a way that is not counted.
    Uncounted,
}

impl Wanted {
    /// All packets leave by `dev`.
    pub fn leaves(dev: &str) -> Self {
        Self::of(Leaves::By(vec![dev.to_owned()]))
    }

    /// Packets leave by exactly these devices, some by each.
    pub fn leaves_by(devs: &[&str]) -> Self {
        Self::of(Leaves::By(names(devs)))
    }

    /// Packets leave by one or more of these devices, which the kernel chooses by a hash.
    pub fn leaves_among(devs: &[&str]) -> Self {
        Self::of(Leaves::Among(names(devs)))
    }

    /// No packet leaves.
    pub fn ends() -> Self {
        Self::of(Leaves::Not)
    }

    /// What leaves is not counted: only the decision is compared.
    pub fn uncounted() -> Self {
        Self::of(Leaves::Uncounted)
    }

    fn of(leaves: Leaves) -> Self {
        Self {
            leaves,
            decisions: Vec::new(),
            also: None,
            route_get: None,
            exact: true,
        }
    }

    /// The decision before the packets leave, or the last one when none leaves: the fields that a
    /// `route` of the JSON must have. A list means any of its values.
    pub fn decision(mut self, decision: Value) -> Self {
        self.decisions.push((None, decision));
        self
    }

    /// The decision of those packets that leave by `dev`. With a tunnel device in `dev` this is the
    /// inner decision, with the underlay the one about the outer packet.
    pub fn decision_at(mut self, dev: &str, decision: Value) -> Self {
        self.decisions.push((Some(dev.to_owned()), decision));
        self
    }

    /// Fields that the direction must have beside: `outcome`, `why`, `drops`. More can be added.
    pub fn also(mut self, fields: Value) -> Self {
        match (&mut self.also, fields) {
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (also, fields) => *also = Some(fields),
        }
        self
    }

    /// `ip route get ARGS` on the node must name the device and gateway that the packets took. Only
    /// for a single next hop: for several it names another member than the packet takes.
    pub fn route_get(self, args: &str) -> Self {
        Self {
            route_get: Some(args.to_owned()),
            ..self
        }
    }

    /// Only the devices are compared, not how many packets left: for TCP, whose segments are
    /// counted where they may still be one buffer, and for fragments.
    pub fn any_count(self) -> Self {
        Self {
            exact: false,
            ..self
        }
    }
}

fn names(devs: &[&str]) -> Vec<String> {
    devs.iter().map(|dev| (*dev).to_owned()).collect()
}
