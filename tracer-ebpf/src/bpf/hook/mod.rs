//! One file per hook.

mod fib;
mod kfree_skb;
mod neigh;
mod queue;
mod receive;
mod settle;
mod tc;
mod tcp;
