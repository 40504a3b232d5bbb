-- Calls that make many things at once: what was answered under an Idempotency-Key is too long for
-- one value, so it is kept in pieces.

create table kudos.idempotency_pieces (
    workspace_id bigint not null,
    key text collate "C" not null,
    piece int not null check (piece >= 0),
    body text not null,
    primary key (workspace_id, key, piece),
    foreign key (workspace_id, key) references kudos.idempotency_keys (workspace_id, key)
        on delete cascade
);
comment on table kudos.idempotency_pieces is
    'Answers of long calls under an Idempotency-Key, in pieces; deleted with their key.';
comment on column kudos.idempotency_pieces.workspace_id is 'The workspace of the API key that called.';
comment on column kudos.idempotency_pieces.key is 'The Idempotency-Key as it was sent.';
comment on column kudos.idempotency_pieces.piece is 'Number of the piece, from 0.';
comment on column kudos.idempotency_pieces.body is 'The piece.';
