//! Scripts against a group shard. A script is one request or step of time per line; what comes out, records and
//! replies, is compared as text. After every step the shard is loaded anew from its log and compared with itself.

mod classic;
mod consumer;
mod migration;
mod offsets;
mod random;
mod render;
mod script;
