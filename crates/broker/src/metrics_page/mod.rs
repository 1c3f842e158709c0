//! `/metrics`, `/livez` and `/readyz` of a node, with the names that the JMX exporter gives to Kafka's MBeans.

mod broker;
mod coordinators;
mod network;
mod process;

use std::sync::{Arc, Weak};

use crate::http::{Page, Pages};
use crate::metrics::{Exposition, Metrics};
use crate::state::Broker;

/// The pages of a node; the broker may not be there (yet).
pub struct NodePages {
    pub metrics: Arc<Metrics>,
    pub broker: std::sync::OnceLock<Weak<Broker>>,
    pub controller: Option<Arc<crate::controller::ControllerNode>>,
}

impl Pages for NodePages {
    async fn page(&self, path: &str) -> Page {
        let broker = self.broker.get().and_then(Weak::upgrade);
        match path {
            "/metrics" => Page {
                status: 200,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: self.render(broker.as_deref()).await,
            },
            "/livez" => Page::text(200, "ok\n"),
            "/readyz" => match (&broker, &self.controller) {
                (Some(b), _) if b.is_running() => Page::text(200, "ok\n"),
                (Some(_), _) => Page::text(503, "the broker is starting or stopping\n"),
                (None, Some(c)) if c.is_ready() => Page::text(200, "ok\n"),
                _ => Page::text(503, "the node is starting\n"),
            },
            _ => Page::text(404, "pages: /metrics /livez /readyz\n"),
        }
    }
}

impl NodePages {
    async fn render(&self, broker: Option<&Broker>) -> String {
        let groups = match broker {
            Some(broker) => Some(coordinators::Snapshot::take(broker).await),
            None => None,
        };
        let mut out = Exposition::new();
        network::listeners(&mut out, &self.metrics);
        network::requests(&mut out, &self.metrics);
        network::threads(&mut out, &self.metrics);
        if let Some(broker) = broker {
            broker::render(&mut out, broker);
            coordinators::render(&mut out, broker, groups.unwrap_or_default());
        }
        if let Some(controller) = &self.controller {
            controller.render(&mut out);
        }
        process::render(&mut out);
        out.finish()
    }
}
