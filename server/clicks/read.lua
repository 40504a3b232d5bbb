-- What flush sees of a partition, at one moment. Changes nothing.
--
-- KEYS: ready, last_seq, flushed, bytes, events
-- ARGV: most bytes of batches, most events, where to begin ('-' or '(' and an entry's id), then
--   origins whose entries are to be passed over
-- Answer: ready (1 or 0), last_seq and flushed as flat lists, bytes in the stream, entries as
--   {id, origin, first, last, batch}, and 1 if these are all that there are.
--
-- At least one entry is answered if there is any, whatever its size. Seqs are compared with a limit
-- only, so that their being doubles here does no harm.
local PAGE = 16
local bytes_max, events_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local passed_over = {}
for i = 4, #ARGV do
  passed_over[ARGV[i]] = true
end

local entries, bytes, events, from, complete = {}, 0, 0, ARGV[3], 0
repeat
  local page = redis.call('XRANGE', KEYS[5], from, '+', 'COUNT', PAGE)
  local full = false
  for _, entry in ipairs(page) do
    local field = {}
    for i = 1, #entry[2], 2 do
      field[entry[2][i]] = entry[2][i + 1]
    end
    local batch = field.b or ''
    if not passed_over[field.o or ''] then
      if #entries > 0 and (bytes + #batch > bytes_max or events >= events_max) then
        full = true
        break
      end
      entries[#entries + 1] = {entry[1], field.o or '', field.f or '', field.l or '', batch}
      bytes = bytes + #batch
      events = events + (tonumber(field.l) or 0) - (tonumber(field.f) or 0) + 1
    end
    from = '(' .. entry[1]
  end
  if not full and #page < PAGE then
    complete = 1
  end
until full or complete == 1

return {
  redis.call('EXISTS', KEYS[1]),
  redis.call('HGETALL', KEYS[2]),
  redis.call('HGETALL', KEYS[3]),
  redis.call('GET', KEYS[4]) or '0',
  entries,
  complete,
}
