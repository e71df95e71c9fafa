-- Format 3: people have telephones, and a provider may say that a message was delivered.
ALTER TABLE outbox ADD COLUMN phone TEXT;              -- as it is dialled; never part of an answer for viewers
ALTER TABLE outbox ADD COLUMN delivered_at INTEGER;    -- the provider said so; state stays 'sent'
ALTER TABLE outbox ADD COLUMN words TEXT;              -- JSON: the text in pieces, for SMS, voice and shared messages
CREATE INDEX outbox_incident ON outbox (incident, channel, n);
-- What the office changed of the rota while it ran: one row. Each change is an event too, with who and what.
CREATE TABLE rota (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    changes    TEXT NOT NULL                -- JSON, see rota/changes.rs
) STRICT;
