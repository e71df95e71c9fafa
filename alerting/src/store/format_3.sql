-- Format 3: people have telephones, and a provider may say that a message was delivered.
ALTER TABLE outbox ADD COLUMN phone TEXT;              -- as it is dialled; never part of an answer for viewers
ALTER TABLE outbox ADD COLUMN delivered_at INTEGER;    -- the provider said so; state stays 'sent'
