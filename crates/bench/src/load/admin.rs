//! Topics, made and deleted through librdkafka's admin client.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::rpc::{Rpc, served};

const TIMEOUT: Duration = Duration::from_secs(120);
/// Partitions asked for at once; brokers refuse 10,000 and more.
const MAX_PER_REQUEST: usize = 2_000;

/// Makes topics with `partitions` partitions each and the given settings, and waits until all partitions are served.
pub fn create_topics(
    bootstrap: &str,
    names: &[String],
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<(), String> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("socket.timeout.ms", "120000")
        .create()
        .map_err(|e| e.to_string())?;
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    for chunk in names.chunks((MAX_PER_REQUEST / partitions.max(1) as usize).max(1)) {
        let topics: Vec<NewTopic<'_>> = chunk
            .iter()
            .map(|name| {
                let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
                settings.iter().fold(topic, |t, (k, v)| t.set(k, v))
            })
            .collect();
        let results = wait(admin.create_topics(&topics, &options)).map_err(|e| e.to_string())?;
        if let Some(Err((name, code))) = results.into_iter().find(Result::is_err) {
            return Err(format!("cannot create {name}: {code}"));
        }
    }
    until_served(bootstrap, names, partitions)
}

/// A topic is there before its partitions are: whoever produces at once is told that there is no leader.
fn until_served(bootstrap: &str, names: &[String], partitions: i32) -> Result<(), String> {
    let port = bootstrap.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let mut rpc = Rpc::connect(port.ok_or_else(|| format!("no port in {bootstrap}"))?)?;
    let began = Instant::now();
    while served(&mut rpc, names, partitions)? < names.len() * partitions as usize {
        if began.elapsed() > TIMEOUT {
            return Err(format!("not every new partition is served within {TIMEOUT:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Runs a future that librdkafka's own threads complete.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park_timeout(Duration::from_millis(10)),
        }
    }
}
