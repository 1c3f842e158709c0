//! Floor 3: a Kafka node. The shells around the machines below: connections, handlers (one file per API key), the tasks
//! that own coordinator shards, the quorum and controller, metrics, and start and stop.

pub mod alter_dirs;
pub mod cleaner;
pub mod connection;
pub mod controller;
pub mod coordinators;
pub mod directories;
pub mod features;
pub mod fetch;
pub mod handlers;
pub mod http;
pub mod lifecycle;
pub mod listener_info;
pub mod logging;
pub mod metrics;
pub mod metrics_page;
pub mod partition;
pub mod partitions;
pub mod peers;
pub mod request;
pub mod start;
pub mod state;
pub mod telemetry;
pub mod topics;
