//! Prints what a step costs; asserts nothing about time.

use std::hint::black_box;

use super::*;
use crate::slot::Slot;

#[test]
fn print_cost_of_a_step_and_bytes_of_a_post() {
    let posts = 3200usize;
    let rows: String = (0..posts)
        .map(|n| format!("Q{n},,z{},r,{n},,F{},C1,113.2,35.2,2,150,false,,\n", n % 4, n / 40))
        .collect();
    let header = lampguard_model::register::header();
    let short = header.split(",kind").next().unwrap();
    let register = Register::parse(format!("{short}\n{rows}").as_bytes()).unwrap();
    let mut engine = Engine::new(Policy::default(), Arc::new(register), Sky::default());
    let names: Vec<(String, String)> = (0..posts).map(|n| (format!("Q{n}"), format!("z{}", n % 4))).collect();
    let mut effects = Vec::new();
    let rounds = 60;
    let started = clock();
    for round in 0..rounds {
        for (n, (post, zone)) in names.iter().enumerate() {
            let at = T + Millis::seconds(300 * round) + Millis(n as i64 * 90);
            let mut r = with(leak(at, 0.8), Field::ShellV, 0.3);
            r.identity = mix(at.0 as u64 ^ (n as u64) << 40);
            (r.post, r.device, r.zone) = (post, post, zone);
            engine.step(at, Input::Reading(black_box(&r)), &mut effects);
        }
    }
    let steps = rounds as u128 * posts as u128;
    println!(
        "{} ns/step over {steps} steps, {} bytes/post of rule state and {} to find it, {} effects",
        started.elapsed().as_nanos() / steps,
        size_of::<Slot>(),
        size_of::<super::super::place::Owner>() + size_of::<(Arc<str>, u32)>(),
        effects.len(),
    );
    assert_eq!(engine.posts(), posts);
    assert_eq!(engine.open_incidents().count(), 0);
}

#[expect(clippy::disallowed_methods, reason = "measures; decides nothing")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}
