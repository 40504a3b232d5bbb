-- What ship asks every flush_interval_ms, also when it has nothing to send: or it would never learn
-- that Redis went back. Changes nothing.
--
-- KEYS  ready, last_seq, flushed                                   (server/clicks/partition.h)
-- ARGV  origins
-- Answers {1 or 0: ready, then for each origin its last_seq and its flushed, "0" if not known}
local answer = {redis.call('EXISTS', KEYS[1])}
for i = 1, #ARGV do
    answer[2 * i] = redis.call('HGET', KEYS[2], ARGV[i]) or '0'
    answer[2 * i + 1] = redis.call('HGET', KEYS[3], ARGV[i]) or '0'
end
return answer
