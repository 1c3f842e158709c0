//! Topics that come to be because a client asked for them. Source: Kafka `AutoTopicCreationManager`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_protocol::types::Str;
use ottla_protocol::{ApiKey, ErrorCode};
use tokio::sync::watch;

use super::{APPLY_PATIENCE, FORWARD_TIMEOUT};
use crate::state::Broker;
use crate::topics::{CONSUMER_OFFSETS, TRANSACTION_STATE, is_valid_name};

/// Topics that may be in creation at the same time; more are created when clients ask again.
const MAX_AUTO_CREATIONS: usize = 1000;

/// The topics in creation.
#[derive(Default)]
pub struct AutoCreations {
    names: watch::Sender<BTreeSet<Str>>,
}

impl AutoCreations {
    /// Has the controller create `names`, but for those that are invalid or in creation already.
    pub fn start(&self, b: &Arc<Broker>, names: Vec<Str>) {
        let mut names: Vec<Str> =
            names.into_iter().filter(|n| is_valid_name(n)).map(|n| n.detached()).collect();
        self.names.send_if_modified(|creating| {
            names.retain(|n| creating.len() < MAX_AUTO_CREATIONS && creating.insert(n.clone()));
            !names.is_empty()
        });
        if names.is_empty() {
            return;
        }
        let b = Arc::clone(b);
        tokio::spawn(async move {
            create(&b, &names).await;
            b.auto_creations.names.send_modify(|creating| {
                for name in &names {
                    creating.remove(name);
                }
            });
        });
    }

    /// Waits until `name` is no longer in creation: this broker serves it then, or it could not be created. Gives up
    /// after `patience`.
    pub async fn ended(&self, name: &str, patience: Duration) {
        let mut names = self.names.subscribe();
        let _ = tokio::time::timeout(patience, names.wait_for(|creating| !creating.contains(name))).await;
    }
}

/// Asks the controller, then waits until this broker has applied what it decided.
async fn create(b: &Arc<Broker>, names: &[Str]) {
    let request = CreateTopicsRequest {
        topics: names.iter().map(|n| creatable(b, n)).collect(),
        timeout_ms: FORWARD_TIMEOUT.as_millis() as i32,
        ..Default::default()
    };
    let answer: Result<CreateTopicsResponse, _> =
        b.controller.call(ApiKey::CreateTopics, 7, &request, FORWARD_TIMEOUT).await;
    let response = match answer {
        Ok(response) => response,
        Err(error) => return tracing::warn!(%error, "cannot create topics that a client asked for"),
    };
    let exists = |code: ErrorCode| matches!(code, ErrorCode::None | ErrorCode::TopicAlreadyExists);
    let (there, failed): (Vec<_>, Vec<_>) =
        response.topics.iter().partition(|topic| exists(ErrorCode::from_code(topic.error_code)));
    for topic in failed {
        tracing::warn!(
            topic = %topic.name, code = %ErrorCode::from_code(topic.error_code),
            message = topic.error_message.as_deref().unwrap_or(""),
            "cannot create a topic that a client asked for"
        );
    }
    // A controller elsewhere answers before this broker has heard of them; another broker may have been asked too.
    let mut applied = b.applied_offset.subscribe();
    let all_there = applied.wait_for(|_| {
        let image = b.image.load();
        there.iter().all(|topic| image.topics.by_name(&topic.name).is_some())
    });
    let _ = tokio::time::timeout(APPLY_PATIENCE, all_there).await;
}

fn creatable(b: &Broker, name: &Str) -> CreatableTopic {
    let config = b.config.load();
    let own = |pairs: &[(&str, String)]| {
        pairs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: (*name).into(),
                value: Some(value.clone().into()),
                ..Default::default()
            })
            .collect()
    };
    let (num_partitions, replication_factor, configs) = match &**name {
        CONSUMER_OFFSETS => (
            config.get_int("offsets.topic.num.partitions"),
            config.get_int("offsets.topic.replication.factor"),
            own(&[
                ("cleanup.policy", "compact".to_owned()),
                ("segment.bytes", config.get_int("offsets.topic.segment.bytes").to_string()),
                ("compression.type", "producer".to_owned()),
            ]),
        ),
        TRANSACTION_STATE => (
            config.get_int("transaction.state.log.num.partitions"),
            config.get_int("transaction.state.log.replication.factor"),
            own(&[
                ("cleanup.policy", "compact".to_owned()),
                ("segment.bytes", config.get_int("transaction.state.log.segment.bytes").to_string()),
                ("compression.type", "uncompressed".to_owned()),
                ("unclean.leader.election.enable", "false".to_owned()),
                ("min.insync.replicas", config.get_int("transaction.state.log.min.isr").to_string()),
            ]),
        ),
        // What this broker was not told is the controller's to decide.
        _ => {
            let own = |key: &str| if config.explicit(key).is_some() { config.get_int(key) } else { -1 };
            (own("num.partitions"), own("default.replication.factor"), Vec::new())
        }
    };
    CreatableTopic {
        name: name.clone(),
        num_partitions,
        replication_factor: replication_factor as i16,
        configs,
        ..Default::default()
    }
}
