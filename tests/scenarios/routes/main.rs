//! Route decisions compared with what the packets did. Each file is a group of cases; the table of
//! all rows is printed by the run. Needs root.

mod forwarding;
mod lab;
mod redirect;
