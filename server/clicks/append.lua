-- Appends one batch of an origin to its partition, once, in order. Called by ship alone.
--
-- KEYS  ready, last_seq, flushed, totals, bytes, events            (server/clicks/partition.h)
-- ARGV  1 origin, 2 prev (first - 1), 3 first, 4 last, 5 most bytes in the stream, 6 batch,
--       then pairs: link, clicks
-- Answers {status, last_seq of the origin, flushed of the origin}, "0" for an origin that is not
-- known; status is
--   applied    the batch is in the stream and counted
--   not ready  the partition waits to be recovered from PostgreSQL; nothing changed
--   refused    prev is not last_seq: nothing changed; the shipper goes on behind last_seq
--   full       the stream holds its most bytes; nothing changed
--
-- Seqs are compared as decimal strings, since Lua's numbers are doubles. The first write is the one
-- that Redis may refuse (OOM, READONLY, MISCONF); once it is done the rest is, too.
local call = redis.call
local origin, prev = ARGV[1], ARGV[2]
local last_seq = call('HGET', KEYS[2], origin) or '0'
local flushed = call('HGET', KEYS[3], origin) or '0'

if call('EXISTS', KEYS[1]) == 0 then
    return {'not ready', last_seq, flushed}
end
if last_seq ~= prev then
    return {'refused', last_seq, flushed}
end
if tonumber(call('GET', KEYS[5]) or '0') >= tonumber(ARGV[5]) then
    return {'full', last_seq, flushed}
end

call('XADD', KEYS[6], '*', 'o', origin, 'f', ARGV[3], 'l', ARGV[4], 'b', ARGV[6])
call('INCRBY', KEYS[5], #ARGV[6])
local totals = KEYS[4]
for i = 7, #ARGV, 2 do
    call('HINCRBY', totals, ARGV[i], ARGV[i + 1])
end
call('HSET', KEYS[2], origin, ARGV[4])
return {'applied', ARGV[4], flushed}
