-- Forgets workers that hold nothing: one who leaves, and those who were not heard of for long. In one
-- step, since forgetting a worker forgets what it holds.
--
-- KEYS: the stream. ARGV: the group, the name of the one who leaves, and how long the others are kept,
-- in milliseconds.
local workers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if workers.err then
    -- There is no group, so there is nobody to forget.
    return
end
for _, fields in ipairs(workers) do
    local worker = {}
    for index = 1, #fields, 2 do
        worker[fields[index]] = fields[index + 1]
    end
    if worker.pending == 0 and (worker.name == ARGV[2] or worker.idle > tonumber(ARGV[3])) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], worker.name)
    end
end
