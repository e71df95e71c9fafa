//! Live control without a city: who is let in, what becomes of a body, what is handed over.

use lampguard_simulator::publish::Report;

use super::*;

/// A control whose city obeys everything, or refuses it.
async fn running(refusal: Option<CommandError>) -> (String, mpsc::UnboundedReceiver<Command>) {
    let facts = Facts { posts: 7, scenario: "test".to_owned(), speed: 1.0 };
    let (address, mut orders) = start(SocketAddr::from(([127, 0, 0, 1], 0)), facts).await.unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Do(command, answer) => {
                    let _ = tell.send(command);
                    let _ = answer.send(refusal.clone().map_or(Ok("it is done".to_owned()), Err));
                }
                Order::State(answer) => drop(answer.send(Report { connected: 3, ..Report::default() })),
                Order::Truth(answer) => drop(answer.send(Vec::new())),
            }
        }
    });
    (address.to_string(), told)
}

/// Sends a request as it is written; status and body come back.
async fn send(address: &str, head: &str, body: &str) -> (u16, Value) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // The other side may answer and close before it has read all of a body that is too long.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::from(body)))
}

async fn post_json(address: &str, path: &str, body: &str) -> (u16, Value) {
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json");
    send(address, &head, body).await
}

#[tokio::test]
async fn each_word_has_a_route_and_all_of_them_are_commands() {
    let (address, mut told) = running(None).await;
    let bodies = [
        ("rain", r#"{"zone":"z1","rain_mm_h":20,"minutes":60,"warning":"yellow"}"#),
        ("leak", r#"{"post_id":"P00017","leakage_ma":45}"#),
        ("storm", r#"{"posts":50}"#),
        ("cut", r#"{"feeder":"F1"}"#),
        ("reclose", r#"{"feeder":"F1"}"#),
        ("drown", r#"{"post_id":"P00017"}"#),
        ("repair", r#"{"post_id":"P00017"}"#),
    ];
    assert_eq!(bodies.map(|(word, _)| word), WORDS);
    for (word, body) in bodies {
        let (status, answer) = post_json(&address, &format!("/{word}"), body).await;
        assert_eq!((status, &answer["done"]), (200, &Value::from("it is done")), "{word}: {answer}");
        let readable = told.recv().await.unwrap();
        let whole = format!("{{\"do\":\"{word}\",{}", &body[1..]);
        assert_eq!(post_json(&address, "/command", &whole).await.0, 200);
        assert_eq!(told.recv().await.unwrap(), readable, "{word}");
    }
}

#[tokio::test]
async fn what_a_web_page_could_send_is_refused() {
    let (address, mut told) = running(None).await;
    let body = r#"{"posts":50}"#;
    let json = "Content-Type: application/json";
    let wrong = [
        (403, format!("POST /storm HTTP/1.1\r\nHost: {address}\r\nOrigin: http://evil.example\r\n{json}")),
        (403, format!("POST /storm HTTP/1.1\r\nHost: {address}\r\nOrigin: null\r\n{json}")),
        (403, format!("POST /storm HTTP/1.1\r\nHost: evil.example\r\n{json}")),
        (403, format!("POST /storm HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n{json}")),
        (403, format!("POST /storm HTTP/1.0\r\n{json}")),
        (403, "GET /truth HTTP/1.1\r\nHost: evil.example".to_owned()),
        (415, format!("POST /storm HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain")),
        (415, format!("POST /storm HTTP/1.1\r\nHost: {address}")),
        (405, format!("GET /storm HTTP/1.1\r\nHost: {address}")),
        (404, format!("POST /fly HTTP/1.1\r\nHost: {address}\r\n{json}")),
    ];
    for (status, head) in wrong {
        let (answered, answer) = send(&address, &head, body).await;
        assert_eq!(answered, status, "{head}: {answer}");
        assert!(answer["error"]["code"].is_string() && answer["error"]["message"].is_string(), "{answer}");
    }
    assert!(told.try_recv().is_err(), "nothing of it reached the city");
}

#[tokio::test]
async fn a_body_that_is_no_command_is_named_and_a_long_one_refused() {
    let (address, mut told) = running(None).await;
    let long = format!("{{\"posts\":\"{}\"}}", "x".repeat(BODY_MAX));
    for (path, body, status, word) in [
        ("/command", r#"{"do":"fly"}"#, 400, "fly"),
        ("/command", "[1]", 400, "command"),
        ("/storm", "{", 400, "JSON"),
        ("/storm", r#"{"do":"storm","posts":5}"#, 400, "without"),
        ("/storm", r#"{"posts":5,"more":1}"#, 400, "more"),
        ("/leak", r#"{"post_id":"P1"}"#, 400, "leakage_ma"),
        ("/storm", long.as_str(), 413, "65536"),
    ] {
        let (answered, answer) = post_json(&address, path, body).await;
        let message = answer["error"]["message"].as_str().unwrap_or("");
        assert!(answered == status && message.contains(word), "{path}: {answered} {answer}");
    }
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn what_the_city_refuses_is_told_by_its_status() {
    let unknown = CommandError::Unknown { what: "post", id: "P9".to_owned() };
    let (address, _told) = running(Some(unknown)).await;
    let (status, answer) = post_json(&address, "/drown", r#"{"post_id":"P9"}"#).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &Value::from("not_found")), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("P9"));
    let range = CommandError::Range { name: "posts", value: 0.0, min: 1.0, max: 7.0 };
    let (address, _told) = running(Some(range)).await;
    assert_eq!(post_json(&address, "/storm", r#"{"posts":0}"#).await.0, 400);
}

#[tokio::test]
async fn state_truth_and_help_are_answered_and_an_ending_city_is_a_conflict() {
    let (address, _told) = running(None).await;
    let get = async |path: &str| send(&address, &format!("GET {path} HTTP/1.1\r\nHost: localhost"), "").await;
    let (status, state) = get("/state").await;
    assert_eq!((status, &state["posts"], &state["connections"]["up"]), (200, &7.into(), &3.into()));
    assert_eq!(get("/truth").await.0, 200);
    let (status, help) = get("/").await;
    let help = help.as_str().unwrap();
    assert!(
        status == 200 && WORDS.iter().all(|word| help.contains(&format!("http://localhost/{word} "))),
        "{help}"
    );

    let facts = Facts { posts: 7, scenario: "test".to_owned(), speed: 1.0 };
    let (address, orders) = start(SocketAddr::from(([127, 0, 0, 1], 0)), facts).await.unwrap();
    drop(orders);
    let (status, answer) = post_json(&address.to_string(), "/storm", r#"{"posts":5}"#).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &Value::from("ending")));
}

#[test]
fn only_loopback_is_ours() {
    for host in
        ["127.0.0.1", "127.0.0.1:80", "127.9.9.9:1", "localhost", "LOCALHOST:8080", "[::1]:80", "[::1]"]
    {
        assert!(is_ours(host), "{host}");
    }
    for host in ["", "10.0.0.1", "localhost.evil.example", "evil@127.0.0.1", "0.0.0.0:1", "[::]:1", "a b"] {
        assert!(!is_ours(host), "{host}");
    }
    assert!(check("127.0.0.1:1".parse().unwrap()).is_ok() && check("[::1]:1".parse().unwrap()).is_ok());
    let refused = check("0.0.0.0:7".parse().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("0.0.0.0:7") && refused.contains("127.0.0.1:7"), "{refused}");
}
