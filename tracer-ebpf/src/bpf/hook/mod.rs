//! One file per hook.

mod fib;
mod kfree_skb;
mod neigh;
mod receive;
mod tc;
mod tcp;
