//! Writes every waveform and quirk as one SVG: `cargo run -p lampguard-simulator --example gallery docs/waveforms.svg`.

use std::process::ExitCode;

use lampguard_simulator::gallery;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("give the file to write, for example docs/waveforms.svg");
        return ExitCode::from(2);
    };
    let mut panels = gallery::waveforms();
    panels.extend(gallery::quirks());
    let svg = gallery::draw("Waveforms and quirks of the simulated city", &panels);
    match std::fs::write(&path, svg) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("writing {}: {e}", path.display());
            ExitCode::FAILURE
        }
    }
}
