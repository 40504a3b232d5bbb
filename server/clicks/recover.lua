-- Makes a partition what PostgreSQL says it is, in one step; shippers go on from there.
--
-- KEYS: ready, last_seq, flushed, totals, bytes, events, prepared totals, prepared watermarks
-- ARGV: number of fields in the prepared totals, and in the prepared watermarks
-- Answer: 'recovered', or an error that begins with UNPREPARED; then nothing was changed.
--
-- The prepared hashes were filled before, over several calls, under names of their own that expire.
-- A Redis that restarted in between may have lost part of them, so they are counted.
local totals, watermarks = tonumber(ARGV[1]), tonumber(ARGV[2])
if redis.call('HLEN', KEYS[7]) ~= totals or redis.call('HLEN', KEYS[8]) ~= watermarks then
  return redis.error_reply('UNPREPARED the prepared hashes are not what they were')
end

redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
if totals > 0 then
  redis.call('RENAME', KEYS[7], KEYS[4])
  redis.call('PERSIST', KEYS[4])
end
if watermarks > 0 then
  redis.call('RENAME', KEYS[8], KEYS[2])
  redis.call('PERSIST', KEYS[2])
  redis.call('COPY', KEYS[2], KEYS[3])
end
redis.call('SET', KEYS[5], '0')
redis.call('SET', KEYS[1], '1')
return 'recovered'
