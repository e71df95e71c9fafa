//! A simulated city in the rain: `lampguard simulate` sends it through a real Mosquitto, the test listens there itself, and
//! the simulator says what is true. Nothing of what stands here comes from the instance that is tested.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use lampguard_model::Timestamp;
use lampguard_simulator::event::{Event, EventKind, Target};
use lampguard_simulator::{City, Run, Scenario, Simulation};
use serde_json::{Value, json};

use super::mqtt::{Hello, packet};
use super::process::{Program, program};
use super::{Mqtt, Site, free_port, http, now_ms, seconds, wait_until};

/// The city and its noise. Another one has to have what [`Storm::plan`] asks of it.
pub const SEED: u64 = 8;
pub const POSTS: u32 = 240;
/// Seconds between two reports of a sensor.
pub const PERIOD_S: i64 = 5;

/// One second is two minutes of weather. Nothing stands near a limit, so that a minute of readings tells what is dangerous from
/// what is not; contactors are welded, so that lamps burn whatever the hour of the test. Every cabinet has a sensor: what a whole
/// feeder leaks must not head the lists of posts.
const SCENARIO: &str = r#"
name = "office"
about = "A cloudburst over a small city: live posts, dark lamps, two damp joints."
period_s = 5
speed = 120.0
hours = 0.1
hazards_per_1000 = 20.0
plain_hazards = true
always_energised = true
feed = "good"
zone_delay_min = 2.0

[params.fleet]
cabinet_sensors = 1.0
LG-I1 = 0.15
LG-H2 = 0.5
NB-1H = 0.05
NB-6H = 0.0
[params.insulation]
aged = 0.0
[params.earth]
poor = 0.0
[params.supply]
half_night = 0.0
dimmed = 0.0

# Delivered twice: what comes again must not be counted again.
[quirks]
glitch = 0.0
spike = 0.0
rollover = 0.0
not_a_number = 0.0
truncated = 0.0
duplicate = 0.01
out_of_order = 0.0
huge = 0.0
negative = 0.0

[[storm]]
after_min = 6.0
ramp_min = 2.0
hours = 9.0
rain_mm_h = 60.0
warning = "orange"
warning_lead_min = 2.0

[[event]]
do = "welded"
after_min = 0.0
count = 20
[[event]]
do = "leak"
after_min = 12.0
count = 6
value = 45.0
[[event]]
do = "leak"
after_min = 12.0
count = 2
skip = 6
value = 8.0
[[event]]
do = "lamp_out"
after_min = 8.0
count = 8
skip = 8
"#;

/// Fields of a message by name, yes/no as 1/0.
type Fields = BTreeMap<String, f64>;

/// What the broker handed out: by post and by zone, each message once, in order of its time.
#[derive(Debug, Default)]
pub struct Heard {
    pub posts: BTreeMap<String, BTreeMap<i64, Fields>>,
    pub weather: BTreeMap<String, BTreeMap<i64, Fields>>,
    pub messages: u64,
    pub readings: u64,
    /// Of these such as had been there.
    pub again: u64,
}

impl Heard {
    fn take(&mut self, topic: &str, payload: &[u8]) {
        self.messages += 1;
        let words: Vec<&str> = topic.split('/').collect();
        let body: BTreeMap<String, Value> = serde_json::from_slice(payload).unwrap();
        let number =
            |value: &Value| value.as_f64().or_else(|| value.as_bool().map(|yes| f64::from(u8::from(yes))));
        let mut fields: Fields =
            body.iter().filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect();
        let at = fields.remove("ts").unwrap() as i64;
        match words[..] {
            ["lamp", _, post, "reading"] => {
                self.readings += 1;
                self.again +=
                    u64::from(self.posts.entry(post.to_owned()).or_default().insert(at, fields).is_some());
            }
            ["weather", zone, "rain"] => {
                let codes = ["none", "blue", "yellow", "orange", "red"];
                let code = codes.iter().position(|code| body["warning"] == *code).unwrap();
                fields.insert("warning".to_owned(), code as f64);
                self.weather.entry(zone.to_owned()).or_default().insert(at, fields);
            }
            _ => panic!("{topic} is no topic of the simulator"),
        }
    }

    /// The newest value of a field of a post.
    pub fn newest(&self, post: &str, field: &str) -> Option<f64> {
        self.posts.get(post)?.values().rev().find_map(|fields| fields.get(field).copied())
    }
}

/// One line of the register.
#[derive(Clone, Debug)]
pub struct Row {
    pub post: String,
    pub zone: String,
    pub road: String,
    pub lon: f64,
    pub lat: f64,
    pub lamps: f64,
    pub low_lying: bool,
    pub feeder: String,
    pub model: String,
}

/// What is known before the first message: the city, and what will happen to whom.
pub struct Storm {
    pub register: String,
    pub rows: Vec<Row>,
    /// Sensors in cabinets: each measures a whole feeder.
    pub cabinets: Vec<Row>,
    /// Lamps that go out.
    pub dark: BTreeSet<String>,
    /// Posts that leak enough to kill.
    pub leaking: BTreeSet<String>,
    /// Posts that leak 8 mA.
    pub damp: BTreeSet<String>,
}

impl Storm {
    pub fn plan() -> Self {
        let scenario = Scenario::parse(SCENARIO).unwrap();
        let city = Arc::new(City::new(POSTS, SEED, &scenario).unwrap());
        let run = Run { seed: SEED, speed: None, boot: 2, start: Timestamp(now_ms()) };
        let simulation = Simulation::new(city.clone(), scenario, run).unwrap();
        let events = simulation.world().events();
        let posts = |is: &dyn Fn(&Event) -> bool| -> BTreeSet<String> {
            let place = |event: &Event| match event.target {
                Target::Post(place) => City::post_id(place as usize),
                _ => panic!("{event:?} happens to no post"),
            };
            events.iter().filter(|event| is(event)).map(place).collect()
        };
        let welded = events.iter().filter(|event| event.kind == EventKind::Welded).count();
        assert_eq!(welded, city.feeders().len(), "every lamp burns");
        let register = city.register_csv();
        Self {
            rows: rows(&register, "post"),
            cabinets: rows(&register, "feeder"),
            register,
            dark: posts(&|event| event.kind == EventKind::LampOut),
            leaking: posts(&|event| event.kind == EventKind::Leak && event.value > 10.0),
            damp: posts(&|event| event.kind == EventKind::Leak && event.value < 10.0),
        }
    }

    pub fn row(&self, post: &str) -> &Row {
        self.rows.iter().find(|row| row.post == post).unwrap()
    }

    /// Where people act: the zone with the low-lying posts, with its crew.
    pub const WORKED: [&str; 2] = ["z2", "c2"];

    /// Zones and crews that the register needs and a [`Site`] does not have.
    pub const ZONES: &str = "[[zone]]\nid = \"z3\"\nname = \"Zone 3\"\ncrew = \"c3\"\n\
        [[zone]]\nid = \"z4\"\nname = \"Zone 4\"\ncrew = \"c4\"\n\
        [[crew]]\nid = \"c3\"\nname = \"Crew 3\"\n[[crew]]\nid = \"c4\"\nname = \"Crew 4\"\n";
}

/// Lines of one kind.
fn rows(register: &str, kind: &str) -> Vec<Row> {
    let mut lines = register.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let cells = |line| names.iter().copied().zip(str::split(line, ',')).collect::<BTreeMap<&str, &str>>();
    let row = |cells: BTreeMap<&str, &str>| {
        let text = |name: &str| cells[name].to_owned();
        let number = |name: &str| cells[name].parse().unwrap();
        Row {
            post: text("post_id"),
            zone: text("zone"),
            road: text("road"),
            lon: number("lon"),
            lat: number("lat"),
            lamps: number("lamps"),
            feeder: text("feeder"),
            low_lying: cells["low_lying"] == "true",
            model: text("model"),
        }
    };
    lines.map(cells).filter(|cells| cells["kind"] == kind).map(row).collect()
}

/// The city while it is sent.
pub struct Sent {
    process: Program,
    control: String,
    heard: Arc<Mutex<Heard>>,
    ending: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
    pub since_ms: i64,
}

impl Sent {
    /// Starts the built program's simulator at a broker; its register has to be the planned one.
    pub fn start(storm: &Storm, site: &Site, broker: u16) -> Self {
        let (heard, ending) = (Arc::<Mutex<Heard>>::default(), Arc::new(AtomicBool::new(false)));
        let listening = Some(listen(broker, heard.clone(), ending.clone()));
        let control = format!("127.0.0.1:{}", free_port());
        let (scenario, posts) = (site.write("office.toml", SCENARIO), site.path("sent.csv"));
        let mut command = program();
        command.args(["simulate", "--broker", &format!("mqtt://127.0.0.1:{broker}"), "--control", &control]);
        command.args(["--posts", &POSTS.to_string(), "--seed", &SEED.to_string(), "--scenario"]);
        command.arg(scenario).arg("--posts-out").arg(&posts);
        let mut process = Program::start("lampguard simulate", command);
        let since_ms = now_ms();
        let control = format!("http://{control}");
        wait_until("live control", seconds(20), || {
            assert!(process.is_alive(), "{}", process.stderr());
            http::try_get(&control, None).is_ok()
        });
        assert_eq!(std::fs::read_to_string(posts).unwrap(), storm.register, "the same city");
        Self { process, control, heard, ending, listening, since_ms }
    }

    /// True hazards up to now, one line a post.
    pub fn truth(&self) -> BTreeMap<String, Value> {
        let text = http::try_get(&format!("{}/truth", self.control), None).unwrap().text;
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| (line["post_id"].as_str().unwrap().to_owned(), line)).collect()
    }

    /// What a post said last, so many times.
    pub fn newest(&self, post: &str, field: &str, count: usize) -> Vec<f64> {
        let heard = self.heard.lock().unwrap();
        let frames = heard.posts[post].values().rev();
        frames.filter_map(|fields| fields.get(field).copied()).take(count).collect()
    }

    /// The post's fault is gone, really.
    pub fn repair(&self, post: &str) {
        let body = json!({ "post_id": post }).to_string();
        let answer = http::try_post(&format!("{}/repair", self.control), None, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// Ends the city: what is true at its end, and what the broker handed out, which is all that was sent.
    pub fn end(mut self) -> (BTreeMap<String, Value>, Heard) {
        let truth = self.truth();
        let (status, _) = self.process.terminate(seconds(10));
        let told = self.process.stderr();
        assert!(status.success(), "{told}");
        let heard = || self.heard.lock().unwrap().messages;
        let counts = |count: u64| {
            format!("sent {count}  acknowledged {count}  repeated 0  unacknowledged 0  dropped 0")
        };
        wait_until("everything that was sent to be heard", seconds(10), || told.contains(&counts(heard())));
        self.ending.store(true, Ordering::Release);
        self.listening.take().unwrap().join().unwrap();
        (truth, std::mem::take(&mut *self.heard.lock().unwrap()))
    }
}

/// Subscribes to everything that the simulator sends, and keeps it until the end.
fn listen(broker: u16, heard: Arc<Mutex<Heard>>, ending: Arc<AtomicBool>) -> JoinHandle<()> {
    let mut client = Mqtt::silent(broker);
    // No keep-alive: it never speaks again.
    assert_eq!(client.greet(&Hello { keep_alive_s: 0, ..Hello::new("listener") }), Ok(0));
    for (nth, filter) in [(1, "lamp/+/+/reading"), (2, "weather/+/rain")] {
        let body = [&[0, nth, 0, filter.len() as u8], filter.as_bytes(), &[0]].concat();
        client.send(&packet(0x82, &body));
        assert_eq!(client.next(seconds(10)).unwrap().first, 0x90);
    }
    std::thread::spawn(move || {
        while !ending.load(Ordering::Acquire) {
            let Ok(packet) = client.next(Duration::from_millis(100)) else { continue };
            let length = usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
            let (topic, payload) = packet.body[2..].split_at(length);
            heard.lock().unwrap().take(std::str::from_utf8(topic).unwrap(), payload);
        }
    })
}
