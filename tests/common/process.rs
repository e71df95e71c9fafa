//! A child process: its output, its signals, and its end in `Drop` by its own pid.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The built program, without what the environment would put over its configuration.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lampguard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LAMPGUARD") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the built program in a folder until it ends, at most `patience`.
pub fn run(dir: &Path, arguments: &[&str], patience: Duration) -> Output {
    let mut command = program();
    command.current_dir(dir).args(arguments);
    finish(&format!("lampguard {}", arguments.join(" ")), command, patience)
}

/// Runs any command until it ends, at most `patience`.
pub fn finish(name: &str, command: Command, patience: Duration) -> Output {
    let mut child = Program::start(name, command);
    let Some(status) = child.wait(patience) else {
        panic!("{name} did not end within {patience:?}");
    };
    child.join_readers();
    Output { status, stdout: child.stdout().into_bytes(), stderr: child.stderr().into_bytes() }
}

/// Standard output and standard error as text.
pub fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

type Buffer = Arc<Mutex<Vec<u8>>>;

/// A running child.
pub struct Program {
    name: String,
    child: Child,
    out: Buffer,
    err: Buffer,
    readers: Vec<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

impl Program {
    /// Starts it; its output is read into memory.
    pub fn start(name: &str, mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("starting {name}: {e}"));
        let (out, err) = (Buffer::default(), Buffer::default());
        let readers = vec![
            reader(child.stdout.take().unwrap(), out.clone()),
            reader(child.stderr.take().unwrap(), err.clone()),
        ];
        let name = name.to_owned();
        Self { name, child, out, err, readers, ended: None }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.out.lock().unwrap()).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned()
    }

    /// True while it has not ended.
    pub fn is_alive(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended.is_none()
    }

    /// Waits for its end; `None` when it goes on.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() > until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.ended
    }

    /// kill -9; proves that it was running until then.
    pub fn kill(&mut self) {
        assert!(self.is_alive(), "{} had ended before it was killed:\n{}", self.name, self.stderr());
        self.child.kill().unwrap();
        self.ended = Some(self.child.wait().unwrap());
    }

    /// SIGTERM by its pid; returns how it ended and after how long.
    pub fn terminate(&mut self, patience: Duration) -> (ExitStatus, Duration) {
        assert!(self.is_alive(), "{} had ended before SIGTERM:\n{}", self.name, self.stderr());
        let started = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let Some(status) = self.wait(patience) else {
            panic!("{} did not end within {patience:?} after SIGTERM", self.name);
        };
        (status, started.elapsed())
    }

    /// SIGHUP by its pid.
    pub fn hang_up(&mut self) {
        assert!(self.is_alive(), "{} had ended before SIGHUP:\n{}", self.name, self.stderr());
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            for (stream, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
                let lines: Vec<&str> = text.lines().collect();
                let last = &lines[lines.len().saturating_sub(40)..];
                println!("---- {stream} of {} ends:\n{}", self.name, last.join("\n"));
            }
        }
    }
}

fn reader(mut from: impl Read + Send + 'static, into: Buffer) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut part = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut part) {
            into.lock().unwrap().extend_from_slice(&part[..count]);
        }
    })
}
