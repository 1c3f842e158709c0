//! A short and always equal piece of what `cargo xtask fuzz` does at length.

use ottla_sim::fuzz::{TARGETS, driver};

const EXECUTIONS: u64 = 400;

#[test]
fn any_bytes_are_refused_or_read() {
    for target in TARGETS {
        assert!(!(target.seeds)().is_empty(), "{}: no good file to begin with", target.name);
        for seed in (target.seeds)() {
            (target.run)(&seed);
        }
        if let Some(finding) = driver::run(target, 0, EXECUTIONS, &|_| {}) {
            panic!("{}: execution {}: {}", target.name, finding.execution, finding.what);
        }
    }
}

#[test]
fn an_execution_has_always_the_same_input() {
    let seeds = (TARGETS[0].seeds)();
    assert!((0..100).all(|n| driver::input(&seeds, n) == driver::input(&seeds, n)));
}
