-- Tells Redis what PostgreSQL has committed: takes out entries and raises `flushed`, in one step.
--
-- KEYS: flushed, bytes, events
-- ARGV: number of entries, then id, origin, first, last of each; then origin, watermark of each
-- Answer: how many entries were taken out.
--
-- An entry goes only if the one under that id still has that origin, first and last: Redis hands out
-- a stream id again after it was emptied or rolled back, and a flusher that slept may come late.
-- `flushed` only rises, for the same reason. Entries go first: when memory is used up, Redis lets a
-- script go on once it has begun with something that frees memory.
local function larger(a, b)
  if #a ~= #b then
    return #a > #b
  end
  return a > b
end

local count = tonumber(ARGV[1])
local deleted, bytes = 0, 0
for i = 2, 4 * count + 1, 4 do
  local entry = redis.call('XRANGE', KEYS[3], ARGV[i], ARGV[i])[1]
  if entry then
    local field = {}
    for j = 1, #entry[2], 2 do
      field[entry[2][j]] = entry[2][j + 1]
    end
    if field.o == ARGV[i + 1] and field.f == ARGV[i + 2] and field.l == ARGV[i + 3] then
      redis.call('XDEL', KEYS[3], ARGV[i])
      deleted = deleted + 1
      bytes = bytes + #(field.b or '')
    end
  end
end
if bytes > 0 then
  redis.call('DECRBY', KEYS[2], string.format('%.0f', bytes))
end
for i = 4 * count + 2, #ARGV, 2 do
  local flushed = redis.call('HGET', KEYS[1], ARGV[i])
  if not flushed or larger(ARGV[i + 1], flushed) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return deleted
