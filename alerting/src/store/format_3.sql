-- Format 3: people have telephones, and a provider may say that a message was delivered.
ALTER TABLE outbox ADD COLUMN phone TEXT;              -- as it is dialled; never part of an answer for viewers
ALTER TABLE outbox ADD COLUMN delivered_at INTEGER;    -- the provider said so; state stays 'sent'
ALTER TABLE outbox ADD COLUMN words TEXT;              -- JSON: the text in pieces, for SMS, voice and shared messages
CREATE INDEX outbox_incident ON outbox (incident, channel, n);
