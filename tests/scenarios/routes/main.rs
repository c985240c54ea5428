//! Route decisions compared with what the packets did. Each file is a group of cases; the table of
//! all rows is printed by the run. Needs root.

mod batch;
mod cases;
mod forwarding;
mod l2;
mod lab;
mod load;
mod local_output;
mod multicast;
mod multipath;
mod neighbour;
mod optional;
mod policy;
mod ports;
mod redirect;
mod results;
mod ring;
mod several;
mod source;
mod tenants;
mod translated;
mod tunnel;
