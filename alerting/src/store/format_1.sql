-- Format 1 of incidents.db: what every later format is added to. Times are milliseconds UTC.
CREATE TABLE incident (
    id         TEXT PRIMARY KEY,
    family     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    kinds      TEXT NOT NULL,               -- every kind attached, comma between
    severity   TEXT NOT NULL,
    scope      TEXT NOT NULL,               -- post, feeder, zone, place, system
    post_id    TEXT NOT NULL,               -- '' when it is about more than a post
    feeder     TEXT NOT NULL,
    zone       TEXT NOT NULL,
    road       TEXT NOT NULL,
    opened_at  INTEGER NOT NULL,
    due_at     INTEGER NOT NULL             -- the year 9999: none
               CHECK (due_at > opened_at),
    state      TEXT NOT NULL,
    signal     TEXT NOT NULL CHECK (signal IN ('active', 'normal', 'unpowered', 'silent')),
    notes      TEXT NOT NULL,               -- JSON list
    evidence   TEXT NOT NULL                -- JSON
) STRICT;
CREATE INDEX incident_by_due ON incident (due_at, id);

-- Append-only. hash = sha256(prev || canonical row), see chain.rs; prev of row 1 is 32 zero bytes.
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY,
    key        TEXT NOT NULL UNIQUE,        -- deterministic: a replay inserts nothing twice
    incident   TEXT NOT NULL,               -- '' for notices without one
    at         INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    body       TEXT NOT NULL,               -- JSON
    prev       BLOB NOT NULL,
    hash       BLOB NOT NULL
) STRICT;
CREATE INDEX event_by_incident ON event (incident, seq);
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'event is append-only'); END;
CREATE TRIGGER event_is_never_removed BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'event is append-only'); END;

CREATE TABLE outbox (
    n          INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,        -- deterministic, the same on every retry
    incident   TEXT,
    event      TEXT NOT NULL,
    step       INTEGER NOT NULL,
    told       TEXT NOT NULL,               -- "to"
    channel    TEXT NOT NULL,
    body       TEXT NOT NULL,               -- JSON as it goes out, attempt aside
    created_at INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'failed')),
    attempts   INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    last_error TEXT,
    first_accepted_at INTEGER
) STRICT;
CREATE INDEX outbox_unsent ON outbox (channel, next_at) WHERE state = 'queued';

CREATE TABLE weather (zone TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT;
CREATE TABLE memory (
    post_id      TEXT PRIMARY KEY,
    unlit_s      INTEGER NOT NULL,
    lit_s        INTEGER NOT NULL,
    immersed_at  INTEGER
) STRICT;
-- cursor: journal sequence to replay from; cursor_sky: the weather as it was there;
-- chain_head: "seq:hash" of the newest event, so that a cut tail is noticed.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
