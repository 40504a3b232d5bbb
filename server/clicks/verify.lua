-- What verify compares with PostgreSQL, at one moment: the answer of read.lua without entries, and
-- the totals as a flat list. Changes nothing.
--
-- KEYS: ready, last_seq, flushed, bytes, totals
return {
  redis.call('EXISTS', KEYS[1]),
  redis.call('HGETALL', KEYS[2]),
  redis.call('HGETALL', KEYS[3]),
  redis.call('GET', KEYS[4]) or '0',
  {},
  0,
  redis.call('HGETALL', KEYS[5]),
}
