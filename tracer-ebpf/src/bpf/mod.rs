//! The kernel side. Hooks read and count; what to trace is data in maps and globals.

mod account;
mod again;
mod conntrack;
mod decide;
mod dst;
mod emit;
mod fragment;
mod hook;
mod kmem;
mod last;
mod lookup;
mod maps;
mod packet;
mod recent;
mod repeat;
mod skb;
mod stay;
mod tunnel_key;
mod validation;
mod walk;
mod wanted;
mod work;
