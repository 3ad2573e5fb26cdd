-- One event-loop tick of one shard: admissions, settlements and the drain's acknowledgements, in the order in which they were asked.
-- One script call is one atomic step, so that no two workers can both take the last dollar, and no settlement is half done.
--
-- KEYS[1]  the shard's usage stream, {sN}:usage; all other keys share its hash tag, so that a shard lives in one cluster slot
-- ARGV     how many records the usage stream may hold; then one operation each, packed as MessagePack arrays: {letter, …}
-- returns  the replies as one MessagePack array, in the same order
--
-- Units: money in whole nano-USD (caps) and pico-USD a token (prices), instants in Unix ms, windows on Redis's clock.
-- Keys of an account: {sN}:a:<account>  hash   ep newest epoch · sy epoch of the last sync
--                                              c:<scope> counted by the ledger · n:<scope> entries behind that count
--                                              p:<scope> settled, not yet in the ledger · h:<scope> held · i:<scope> calls in flight
--                     {sN}:g:<account>  packed grants {{id, from, until, left}, …}, oldest expiry first
--                     {sN}:w:<r|t>:<scope>     sliding window: hash bucket → count, "s" their sum; {…}:o the buckets' order
--                     {sN}:h:<call>     a hold, packed; after settlement its result, for a while
--                     {sN}:holds        holds by expiry

local TAG = string.match(KEYS[1], '^(%b{}):')
local BUCKET_MS, WINDOW_BUCKETS = 100, 600
local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local BUCKET = math.floor(NOW / BUCKET_MS)
local STREAM_MAX = tonumber(ARGV[1])

local function call(...) return redis.call(...) end
local function account_key(account) return TAG .. ':a:' .. account end
local function hold_key(id) return TAG .. ':h:' .. id end
local function number(value) return tonumber(value or 0) or 0 end

-- ---- sliding windows of one minute: exact to a bucket, and never too generous ------------------------------------------------
local function window_key(what, scope) return TAG .. ':w:' .. what .. ':' .. scope end

local function window_sum(key)
  local order = key .. ':o'
  local oldest = call('LINDEX', order, 0)
  while oldest and tonumber(oldest) < BUCKET - WINDOW_BUCKETS do
    call('HINCRBY', key, 's', 0 - number(call('HGET', key, oldest)))  -- 0 - x, because Redis 6 does not read "-0"
    call('HDEL', key, oldest)
    call('LPOP', order)
    oldest = call('LINDEX', order, 0)
  end
  return number(call('HGET', key, 's'))
end

local function window_add(key, count)
  local order = key .. ':o'
  if call('HEXISTS', key, BUCKET) == 0 then call('RPUSH', order, BUCKET) end
  call('HINCRBY', key, BUCKET, count)
  call('HINCRBY', key, 's', count)
  call('PEXPIRE', key, 62000)
  call('PEXPIRE', order, 62000)
end

-- A correction belongs to the bucket of the admission, so that both leave the window together. Where that bucket has left already,
-- what was used beyond the estimate counts from now on: a call longer than a minute is not free.
local function window_correct(key, bucket, change)
  if change ~= 0 and call('HEXISTS', key, bucket) == 1 then
    call('HINCRBY', key, bucket, change)
    call('HINCRBY', key, 's', change)
  elseif change > 0 then
    window_add(key, change)
  end
end

local function bucket_leaves_in(bucket) return (bucket + WINDOW_BUCKETS + 1) * BUCKET_MS - NOW end

-- How long until `needed` more fit under `limit`.
local function window_wait(key, sum, needed, limit)
  local excess = sum + needed - limit
  for _, bucket in ipairs(call('LRANGE', key .. ':o', 0, -1)) do
    excess = excess - number(call('HGET', key, bucket))
    if excess <= 0 then return bucket_leaves_in(tonumber(bucket)) end
  end
  return bucket_leaves_in(BUCKET)
end

local function window_reset(key)
  local newest = call('LINDEX', key .. ':o', -1)
  return newest and bucket_leaves_in(tonumber(newest)) or 0
end

-- ---- A: admit ----------------------------------------------------------------------------------------------------------------
-- {'A', call, account, epoch, cards_version, hold_ms, rates {{scope, rpm, tpm, concurrency}…}, tokens, money {{scope, cap}…}, amount, orphan}
-- → {'stale'} caller is old · {'sync'} counters unknown here · {'cards'} prices are old · {'full'} the ledger is too far behind
-- → {'no', reason, scope, wait_ms (for money: the room left, nano-USD), headers} · {'ok', headers} · {'known'} this call was admitted or given back before
-- headers: {requests limit, remaining, reset_ms, tokens limit, remaining, reset_ms}, the tightest scope's; -1 = no such limit
local function tightest(headers, at, limit, remaining, reset)
  if headers[at] < 0 or remaining < headers[at + 1] then
    headers[at], headers[at + 1], headers[at + 2] = limit, math.max(0, remaining), reset
  end
end

local function check_rates(account, rates, tokens, headers)
  local refused = nil
  for _, rate in ipairs(rates) do
    local scope, rpm, tpm, concurrency = rate[1], rate[2], rate[3], rate[4]
    if rpm > 0 then
      local key = window_key('r', scope)
      local sum = window_sum(key)
      tightest(headers, 1, rpm, rpm - sum, window_reset(key))
      if sum >= rpm then
        refused = refused or {'requests', scope, window_wait(key, sum, 1, rpm)}
      end
    end
    if tpm > 0 then
      local key, needed = window_key('t', scope), math.min(tokens, tpm)
      local sum = window_sum(key)
      tightest(headers, 4, tpm, tpm - sum, window_reset(key))
      if sum + needed > tpm then
        refused = refused or {'tokens', scope, window_wait(key, sum, needed, tpm)}
      end
    end
    if concurrency > 0 and number(call('HGET', account_key(account), 'i:' .. scope)) >= concurrency then
      refused = refused or {'concurrency', scope, 1000}
    end
  end
  return refused
end

-- The tightest of the caps decides; how much room it leaves is told, so that a smaller call can be tried.
local function check_money(account, money, amount)
  local key, tightest_scope, least = account_key(account), nil, nil
  for _, limit in ipairs(money) do
    local scope, cap = limit[1], limit[2]
    if cap >= 0 then
      local known = call('HMGET', key, 'c:' .. scope, 'p:' .. scope, 'h:' .. scope)
      local room = cap - number(known[1]) - number(known[2]) - number(known[3])
      if not least or room < least then tightest_scope, least = scope, room end
    end
  end
  if least and amount > least then return {'money', tightest_scope, math.max(0, least)} end
  return nil
end

local function admit(op)
  local id, account, epoch, cards, hold_ms, rates, tokens, money, amount, orphan = unpack(op, 2, 11)
  local key = account_key(account)
  local seen = call('HMGET', key, 'ep', 'sy')
  if number(seen[1]) > epoch then return {'stale'} end
  if number(seen[2]) < epoch then return {'sync'} end
  if number(call('GET', TAG .. ':cards')) > cards then return {'cards'} end
  if call('XLEN', KEYS[1]) >= STREAM_MAX then return {'full'} end
  if call('EXISTS', hold_key(id)) == 1 then return {'known'} end
  for _, limit in ipairs(money) do
    if call('HEXISTS', key, 'c:' .. limit[1]) == 0 then return {'sync'} end
  end
  local headers = {-1, 0, 0, -1, 0, 0}
  local refused = check_rates(account, rates, tokens, headers) or check_money(account, money, amount)
  if refused then return {'no', refused[1], refused[2], refused[3], headers} end
  for _, rate in ipairs(rates) do
    local scope, rpm, tpm = rate[1], rate[2], rate[3]
    if rpm > 0 then window_add(window_key('r', scope), 1) end
    if tpm > 0 then window_add(window_key('t', scope), math.min(tokens, tpm)) end
    call('HINCRBY', key, 'i:' .. scope, 1)
  end
  for _, limit in ipairs(money) do call('HINCRBY', key, 'h:' .. limit[1], amount) end
  call('SET', hold_key(id), cmsgpack.pack({'held', account, rates, tokens, money, amount, BUCKET, orphan}))
  call('ZADD', TAG .. ':holds', NOW + hold_ms, id)
  for at = 1, 4, 3 do
    if headers[at] >= 0 then headers[at + 1] = math.max(0, headers[at + 1] - (at == 1 and 1 or math.min(tokens, headers[at]))) end
    if headers[at] >= 0 then headers[at + 2] = bucket_leaves_in(BUCKET) end
  end
  return {'ok', headers}
end

-- ---- giving a hold back ------------------------------------------------------------------------------------------------------
local function take_hold(id)
  local packed = call('GET', hold_key(id))
  return packed and cmsgpack.unpack(packed) or nil
end

local function give_back(id, hold, tokens_used)
  local account, rates, tokens, money, amount, bucket = unpack(hold, 2, 7)
  local key = account_key(account)
  for _, rate in ipairs(rates) do
    call('HINCRBY', key, 'i:' .. rate[1], -1)
    if rate[3] > 0 then window_correct(window_key('t', rate[1]), bucket, tokens_used - math.min(tokens, rate[3])) end
  end
  for _, limit in ipairs(money) do call('HINCRBY', key, 'h:' .. limit[1], 0 - amount) end
  call('ZREM', TAG .. ':holds', id)
end

-- ---- S: settle ---------------------------------------------------------------------------------------------------------------
-- {'S', call, account, accepted_ms, money, counts {output, input, cached}, pico {output, input, cached}, pages_pico, record, memory_ms}
-- → {'sync'} account unknown here: its grants would not be spent · {'ok', charged_nano, taken {{grant, kind, tokens}…}}
-- kinds: 1 output, 2 input, 3 cached input: the order in which grants pay
local function take_grants(account, accepted_ms, counts)
  local key = TAG .. ':g:' .. account
  local packed = call('GET', key)
  if not packed then return {} end
  local grants, taken = cmsgpack.unpack(packed), {}
  for kind = 1, 3 do
    for _, grant in ipairs(grants) do
      local part = math.min(counts[kind], grant[4])
      if part > 0 and grant[2] <= accepted_ms and accepted_ms < grant[3] then
        grant[4], counts[kind] = grant[4] - part, counts[kind] - part
        taken[#taken + 1] = {grant[1], kind, part}
      end
    end
  end
  if #taken > 0 then call('SET', key, cmsgpack.pack(grants)) end
  return taken
end

local function charge(id, account, accepted_ms, money, counts, pico, pages_pico, record)
  local taken = take_grants(account, accepted_ms, counts)
  local total_pico = pages_pico
  for kind = 1, 3 do total_pico = total_pico + counts[kind] * pico[kind] end
  local nano, scopes = math.ceil(total_pico / 1000), {}
  for at, limit in ipairs(money) do
    call('HINCRBY', account_key(account), 'p:' .. limit[1], nano)
    scopes[at] = limit[1]
  end
  call('XADD', KEYS[1], '*', 'r', record, 'a', account, 'n', nano, 'm', cmsgpack.pack(scopes), 'g', cmsgpack.pack(taken))
  return {'ok', nano, taken}
end

local function settle(op)
  local id, account, accepted_ms, money, counts, pico, pages_pico, record, memory_ms = unpack(op, 2, 10)
  local hold = take_hold(id)
  if hold and hold[1] == 'settled' then return hold[2] end
  if call('HEXISTS', account_key(account), 'sy') == 0 then return {'sync'} end
  local used = counts[1] + counts[2] + counts[3]
  if hold and hold[1] == 'held' then give_back(id, hold, used) end
  local result = charge(id, account, accepted_ms, money, counts, pico, pages_pico, record)
  call('SET', hold_key(id), cmsgpack.pack({'settled', result}), 'PX', memory_ms)
  return result
end

-- ---- F: free a hold whose call was never served ------------------------------------------------------------------------------
-- {'F', call, memory_ms} → {'ok'}
-- An admission whose reply was lost may arrive after this: it must not leave a hold behind, so the call's id is remembered.
local function free(op)
  local hold = take_hold(op[2])
  if hold and hold[1] == 'settled' then return {'ok'} end
  if hold and hold[1] == 'held' then give_back(op[2], hold, 0) end
  call('SET', hold_key(op[2]), cmsgpack.pack({'freed'}), 'PX', op[3])
  return {'ok'}
end

-- ---- W: sweep holds whose worker is gone -------------------------------------------------------------------------------------
-- {'W', count_max, memory_ms} → {'ok', swept}; each becomes the estimated record that was written with the hold
local function sweep(op)
  local ids, swept = call('ZRANGEBYSCORE', TAG .. ':holds', '-inf', NOW, 'LIMIT', 0, op[2]), 0
  for _, id in ipairs(ids) do
    local hold = take_hold(id)
    if hold and hold[1] == 'held' then
      local orphan = hold[8]
      give_back(id, hold, orphan[2][1] + orphan[2][2] + orphan[2][3])
      local result = charge(id, hold[2], orphan[1], hold[5], orphan[2], orphan[3], 0, orphan[4])
      call('SET', hold_key(id), cmsgpack.pack({'settled', result}), 'PX', op[3])
      swept = swept + 1
    else
      call('ZREM', TAG .. ':holds', id)
    end
  end
  return {'ok', swept}
end

-- ---- Y: tell the shard what the ledger knows about an account ----------------------------------------------------------------
-- {'Y', account, epoch, money {{scope, counted, entries}…}, grants {{id, from, until, left}…}} → {'ok'}
local function count(key, scope, counted, entries)
  local before = call('HGET', key, 'n:' .. scope)
  if not before or number(before) <= entries then call('HSET', key, 'c:' .. scope, counted, 'n:' .. scope, entries) end
end

local function sync(op)
  local account, epoch, money, grants = unpack(op, 2, 5)
  local key = account_key(account)
  local seen = call('HMGET', key, 'ep', 'sy')
  call('HSET', key, 'ep', math.max(epoch, number(seen[1])), 'sy', math.max(epoch, number(seen[2])))
  for _, total in ipairs(money) do count(key, total[1], total[2], total[3]) end
  if number(seen[2]) > epoch then return {'ok'} end
  -- What a known grant has left is known best here: some of its spending may not be in the ledger yet.
  local left, packed = {}, call('GET', TAG .. ':g:' .. account)
  for _, grant in ipairs(packed and cmsgpack.unpack(packed) or {}) do left[grant[1]] = grant[4] end
  for _, grant in ipairs(grants) do grant[4] = left[grant[1]] or grant[4] end
  if #grants > 0 then call('SET', TAG .. ':g:' .. account, cmsgpack.pack(grants)) else call('DEL', TAG .. ':g:' .. account) end
  return {'ok'}
end

-- ---- E: something about an account changed; C: a rate card was posted --------------------------------------------------------
-- {'E', account, epoch} · {'C', version} → {'ok'}
local function outdate(op)
  local key = account_key(op[2])
  if number(call('HGET', key, 'ep')) < op[3] then call('HSET', key, 'ep', op[3]) end
  return {'ok'}
end

local function new_cards(op)
  local key = TAG .. ':cards'
  if number(call('GET', key)) < op[2] then call('SET', key, string.format('%.0f', op[2])) end
  return {'ok'}
end

-- ---- D: the drain has these records in the ledger ----------------------------------------------------------------------------
-- {'D', done {{stream id, account, nano, scopes}…}, totals {{account, scope, counted, entries}…}} → {'ok'}
local function drained(op)
  for _, record in ipairs(op[2]) do
    if call('XDEL', KEYS[1], record[1]) == 1 then
      for _, scope in ipairs(record[4]) do call('HINCRBY', account_key(record[2]), 'p:' .. scope, 0 - record[3]) end
    end
  end
  for _, total in ipairs(op[3]) do count(account_key(total[1]), total[2], total[3], total[4]) end
  return {'ok'}
end

-- ---- V: what an account has in hand (its own view) ---------------------------------------------------------------------------
-- {'V', account, scopes} → {'ok', {{counted, pending, held}…}, grants}
local function view(op)
  local rows = {}
  for at, scope in ipairs(op[3]) do
    local known = call('HMGET', account_key(op[2]), 'c:' .. scope, 'p:' .. scope, 'h:' .. scope)
    rows[at] = {number(known[1]), number(known[2]), number(known[3])}
  end
  local packed = call('GET', TAG .. ':g:' .. op[2])
  return {'ok', rows, packed and cmsgpack.unpack(packed) or {}}
end

local DO = {A = admit, S = settle, F = free, W = sweep, Y = sync, E = outdate, C = new_cards, D = drained, V = view}
local replies = {}
for at = 2, #ARGV do
  local op = cmsgpack.unpack(ARGV[at])
  replies[at - 1] = DO[op[1]](op)
end
return cmsgpack.pack(replies)
