//! A client against a scripted broker on loopback.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ottla_protocol::messages::api_versions_response::ApiVersion;
use ottla_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use ottla_protocol::messages::{
    ApiVersionsResponse, DeleteTopicsRequest, DeleteTopicsResponse, MetadataResponse,
    delete_topics_response::DeletableTopicResult,
};
use ottla_protocol::types::Str;
use ottla_protocol::wire::{Message, Writer};
use ottla_protocol::{ApiKey, ErrorCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Client, Target};
use crate::{ClientConfig, ClientError};

/// What the broker does with a request: answer with a body, or close the connection.
enum Act {
    Answer(Bytes),
    Close,
}

/// Starts a broker that hands each request (API, version) to the script; gives its port.
async fn broker(script: impl FnMut(i32, ApiKey, i16) -> Act + Send + 'static) -> i32 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = i32::from(listener.local_addr().unwrap().port());
    let script = Arc::new(Mutex::new(script));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let script = Arc::clone(&script);
            tokio::spawn(async move {
                while let Ok(size) = stream.read_i32().await {
                    let mut frame = vec![0; size as usize];
                    stream.read_exact(&mut frame).await.unwrap();
                    let api = ApiKey::from_code(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
                    let version = i16::from_be_bytes([frame[2], frame[3]]);
                    let act = (script.lock().unwrap())(port, api, version);
                    let Act::Answer(body) = act else { return };
                    let mut w = Writer::new();
                    w.raw(&frame[4..8]);
                    if api.response_header_version(version) == 1 {
                        w.raw(&[0]);
                    }
                    w.raw(&body);
                    let answer = w.into_bytes();
                    stream.write_i32(answer.len() as i32).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    port
}

fn versions(apis: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    ApiVersionsResponse {
        api_keys: apis
            .iter()
            .map(|(api, min_version, max_version)| ApiVersion {
                api_key: api.code(),
                min_version: *min_version,
                max_version: *max_version,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn metadata(port: i32, version: i16) -> Bytes {
    let response = MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 4,
            host: Str::from_static("127.0.0.1"),
            port,
            ..Default::default()
        }],
        cluster_id: Some(Str::from_static("c")),
        controller_id: 4,
        topics: vec![MetadataResponseTopic { name: Some(Str::from_static("t")), ..Default::default() }],
        ..Default::default()
    };
    response.to_bytes(version).unwrap()
}

fn client(port: i32) -> Client {
    let mut config = ClientConfig::of_servers(&format!("127.0.0.1:{port}"));
    config
        .set("retry.backoff.ms", "1")
        .set("retry.backoff.max.ms", "2")
        .set("default.api.timeout.ms", "5000");
    Client::new(&config).unwrap()
}

#[tokio::test]
async fn an_older_broker_is_asked_in_its_own_version() {
    // KIP-511: what is too new is answered in version 0.
    let port = broker(|port, api, version| {
        let known = versions(&[(ApiKey::ApiVersions, 0, 2), (ApiKey::Metadata, 0, 5)]);
        match (api, version) {
            (ApiKey::ApiVersions, 3..) => {
                let error_code = ErrorCode::UnsupportedVersion.code();
                Act::Answer(ApiVersionsResponse { error_code, ..known }.to_bytes(0).unwrap())
            }
            (ApiKey::ApiVersions, version) => Act::Answer(known.to_bytes(version).unwrap()),
            (ApiKey::Metadata, 5) => Act::Answer(metadata(port, 5)),
            other => panic!("unexpected {other:?}"),
        }
    })
    .await;
    let view = client(port).refresh(None).await.unwrap();
    assert_eq!(view.cluster_id.as_deref(), Some("c"));
    assert!(view.topics.contains_key("t"));
    let error = client(port).call(&Target::Any, &DeleteTopicsRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::UnsupportedApi { api: ApiKey::DeleteTopics }));
}

#[tokio::test]
async fn lost_connections_and_passing_errors_are_tried_again() {
    let mut deletes = 0;
    let port = broker(move |port, api, version| match api {
        ApiKey::ApiVersions => {
            let known = versions(&[
                (ApiKey::ApiVersions, 0, 4),
                (ApiKey::Metadata, 0, 9),
                (ApiKey::DeleteTopics, 1, 6),
            ]);
            Act::Answer(known.to_bytes(version).unwrap())
        }
        ApiKey::Metadata => Act::Answer(metadata(port, version)),
        _ => {
            deletes += 1;
            let code = match deletes {
                1 => return Act::Close,
                2 => ErrorCode::NotController,
                _ => ErrorCode::None,
            };
            let response = DeleteTopicsResponse {
                responses: vec![DeletableTopicResult { error_code: code.code(), ..Default::default() }],
                ..Default::default()
            };
            Act::Answer(response.to_bytes(version).unwrap())
        }
    })
    .await;
    let response = client(port)
        .call_checked(&Target::Controller, &DeleteTopicsRequest::default(), |r: &DeleteTopicsResponse| {
            ErrorCode::from_code(r.responses[0].error_code)
        })
        .await
        .unwrap();
    assert_eq!(response.responses[0].error_code, 0);
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut config = ClientConfig::of_servers(&format!("127.0.0.1:{port}"));
    config.set("default.api.timeout.ms", "50").set("retry.backoff.ms", "10");
    let error = Client::new(&config).unwrap().refresh(None).await.unwrap_err();
    assert_eq!(error.to_string(), "Timed out waiting for a node assignment. Call: metadata");
}

#[test]
fn addresses_are_checked_before_anything_is_sent() {
    for servers in ["", " , ", "host", "host:port"] {
        assert!(Client::new(&ClientConfig::of_servers(servers)).is_err(), "{servers}");
    }
    assert!(Client::new(ClientConfig::of_servers("a:1").set("security.protocol", "SSL")).is_err());
}
