-- Format 3: people have telephones, and a provider may say that a message was delivered.
ALTER TABLE outbox ADD COLUMN phone TEXT;              -- as it is dialled; never part of an answer for viewers
ALTER TABLE outbox ADD COLUMN delivered_at INTEGER;    -- the provider said so; state stays 'sent'
ALTER TABLE outbox ADD COLUMN words TEXT;              -- JSON: the text in pieces, for SMS, voice and shared messages
CREATE INDEX outbox_incident ON outbox (incident, channel, n);
CREATE INDEX event_by_kind ON event (kind, at);         -- reports ask for one kind of some time
CREATE INDEX outbox_by_time ON outbox (created_at);
CREATE INDEX incident_opened ON incident (opened_at);
-- The test of each shift, one row a person and slot.
CREATE TABLE test_dispatch (
    id         TEXT PRIMARY KEY,
    slot_at    INTEGER NOT NULL,
    test       TEXT NOT NULL                -- JSON, see test_dispatch.rs
) STRICT;
CREATE INDEX test_by_slot ON test_dispatch (slot_at, id);
-- What the office changed of the rota while it ran: one row. Each change is an event too, with who and what.
CREATE TABLE rota (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    changes    TEXT NOT NULL                -- JSON, see rota/changes.rs
) STRICT;
