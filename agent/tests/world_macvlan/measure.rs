//! What the two ways out of a macvlan pod cost, side by side: a measurement, to be run alone and in release.

use std::time::{Duration, Instant};

use weir_testbeds::traffic::ClientSpec;

use crate::scene::Scene;

const ROUNDS: usize = 15;
const CONNECTIONS: u32 = 300;
const REQUESTS: u32 = 3000;
const BYTES: usize = 4096;

/// Medians per second, and the ratio of both: new connections, and requests on an open one.
#[test]
#[ignore = "a measurement: `cargo test --release -p weir-agent --test world_macvlan -- --ignored --nocapture`"]
fn the_two_ways_out_side_by_side() {
    let mut scenes = [Scene::detoured("measure-socket"), Scene::steered("measure-steer")];
    let mut taken = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    for _ in 0..ROUNDS {
        for (scene, taken) in scenes.iter_mut().zip(&mut taken) {
            taken[0].push(connect(scene));
            taken[1].push(request(scene));
        }
    }
    for (what, index, count) in [("new connections", 0, CONNECTIONS), ("requests", 1, REQUESTS)] {
        let [socket, steer] = &mut taken;
        let rates = [&mut socket[index], &mut steer[index]].map(|times| {
            times.sort();
            f64::from(count) / times[ROUNDS / 2].as_secs_f64()
        });
        let [socket, steer] = rates;
        println!(
            "{what}/s: socket {socket:.0}, steer {steer:.0}, steer is {:.2} x",
            steer / socket
        );
    }
}

fn connect(scene: &mut Scene) -> Duration {
    let [to, _] = scene.servers();
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        scene.actor.exchange(&ClientSpec::to(to)).unwrap();
    }
    start.elapsed()
}

fn request(scene: &mut Scene) -> Duration {
    let [to, _] = scene.servers();
    let held = scene.actor.open(&ClientSpec::to(to)).unwrap();
    let text = "x".repeat(BYTES);
    let start = Instant::now();
    for _ in 0..REQUESTS {
        scene.actor.echo(&held, &text).unwrap();
    }
    start.elapsed()
}
