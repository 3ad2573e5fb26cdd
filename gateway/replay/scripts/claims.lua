-- One step in the life of a claim on an Idempotency-Key. One script call is one atomic step.
--
-- KEYS[1]  the claim      {sN}:x:<name>     hash   c the attempt that has it · d digest of the request · s claimed | begun | done ·
--                                       u lease until, Unix ms · o the call: its first attempt · n attempts
-- KEYS[2]  its answer     {sN}:xa:<name>    sealed; expires after the replay time
-- KEYS[3]  answers kept   {sN}:x.answers    zset   "<size>:<name>" by expiry
-- KEYS[4]  their bytes    {sN}:x.bytes
-- KEYS[5]  claims kept    {sN}:x.hours      hash   hour → claims begun in it, so that their number has a bound
-- ARGV     step, attempt, digest, call, then what the step needs
-- Instants and times in ms, on Redis's clock. All keys share the account's hash tag: one cluster slot.
-- Read besides: {sN}:era and {sN}:missing, which the workers' heartbeats keep (gateway/admission/scripts/history.lua).

local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local HOUR = math.floor(NOW / 3600000)
local STEP, ATTEMPT, DIGEST, CALL = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- Has every live worker told this Redis what it knows? After a failover or a restart not at once: a key that is free here, or whose lease is
-- over, may be that of a call which this Redis has forgotten.
local function is_told()
  local tag = string.match(KEYS[1], '^{[^}]*}')
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
  local id = run .. (string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or '')
  return redis.call('HGET', tag .. ':era', 'id') == id and redis.call('EXISTS', tag .. ':missing') == 0
end

-- claim: lease_ms, keep_ms, claims_max
-- → {'yours'} · {'again', call, attempts before} its worker died before upstream began · {'other', call} another request
-- → {'running', call} · {'gone', call} · {'answer', call, sealed} · {'full'}
-- → {'wait'} live workers have yet to tell what they know
local function claims_kept(keep_ms)
  local kept, oldest = 0, HOUR - math.ceil(keep_ms / 3600000)
  local hours = redis.call('HGETALL', KEYS[5])
  for at = 1, #hours, 2 do
    if tonumber(hours[at]) < oldest then redis.call('HDEL', KEYS[5], hours[at]) else kept = kept + hours[at + 1] end
  end
  return kept
end

local function take(lease_ms, keep_ms, call, attempts)
  redis.call('HSET', KEYS[1], 'c', ATTEMPT, 'd', DIGEST, 's', 'claimed', 'u', NOW + lease_ms, 'o', call, 'n', attempts)
  redis.call('PEXPIRE', KEYS[1], keep_ms)
end

local function claim(lease_ms, keep_ms, claims_max)
  local known = redis.call('HMGET', KEYS[1], 'c', 'd', 's', 'u', 'o', 'n')
  local dead = known[1] and known[3] ~= 'done' and tonumber(known[4]) <= NOW
  local first, attempts = known[5] or known[1], tonumber(known[6] or 1)
  if (dead or not known[1]) and not is_told() then return {'wait'} end
  if dead and known[3] == 'claimed' and known[2] == DIGEST then
    take(lease_ms, keep_ms, first, attempts + 1)
    return {'again', first, attempts}
  end
  if not known[1] or (dead and known[3] == 'claimed') then
    if claims_kept(keep_ms) >= claims_max then return {'full'} end
    take(lease_ms, keep_ms, CALL, 1)
    return {'yours'}
  end
  if known[2] ~= DIGEST then return {'other', first} end
  if known[3] == 'done' then
    local sealed = redis.call('GET', KEYS[2])
    return sealed and {'answer', first, sealed} or {'gone', first}
  end
  -- A claim that was begun ends by its lease: its worker is dead, and the call was served.
  return {dead and 'gone' or 'running', first}
end

-- Write what its worker knows of a claim: also where Redis has lost it meanwhile, never over the claim of another call.
local function write(state, until_ms, expire_ms)
  local known = redis.call('HMGET', KEYS[1], 'c', 's')
  if known[1] and known[1] ~= ATTEMPT then return false end
  redis.call('HSET', KEYS[1], 'c', ATTEMPT, 'd', DIGEST, 's', state, 'u', until_ms, 'o', CALL)
  redis.call('HSETNX', KEYS[1], 'n', 1)
  if state == 'claimed' then
    redis.call('PEXPIRE', KEYS[1], expire_ms)
  elseif known[2] ~= 'begun' and known[2] ~= 'done' then
    redis.call('PEXPIRE', KEYS[1], expire_ms)
    redis.call('HINCRBY', KEYS[5], HOUR, 1)
  end
  return true
end

-- hold: state (claimed | begun), lease_ms, keep_ms → {'yours'} · {'lost'}
local function hold(state, lease_ms, keep_ms)
  return {write(state, NOW + lease_ms, keep_ms) and 'yours' or 'lost'}
end

-- keep: keep_ms, replay_ms, total_max_bytes, sealed ('' for none) → {'kept'} · {'large'} · {'lost'}
local function make_room(needed, total_max)
  while true do
    local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', NOW, 'LIMIT', 0, 100)
    for _, member in ipairs(old) do
      redis.call('DECRBY', KEYS[4], string.match(member, '^%d+'))
      redis.call('ZREM', KEYS[3], member)
    end
    if #old < 100 then break end
  end
  if redis.call('ZCARD', KEYS[3]) == 0 then redis.call('DEL', KEYS[4]) end
  return tonumber(redis.call('GET', KEYS[4]) or 0) + needed <= total_max
end

local function keep(keep_ms, replay_ms, total_max, sealed)
  if not write('done', 0, keep_ms) then return {'lost'} end
  if #sealed == 0 or redis.call('EXISTS', KEYS[2]) == 1 then return {'kept'} end
  if not make_room(#sealed, total_max) then return {'large'} end
  redis.call('SET', KEYS[2], sealed, 'PX', replay_ms)
  redis.call('INCRBY', KEYS[4], #sealed)
  redis.call('ZADD', KEYS[3], NOW + replay_ms, #sealed .. ':' .. KEYS[2])
  for at = 3, 4 do redis.call('PEXPIRE', KEYS[at], 2 * replay_ms) end
  return {'kept'}
end

-- free: → {'freed'}; a claim whose call upstream did not begin to answer. Another attempt finds the key free. Where this was not the first of its
-- call, one that died before it may have cost something: the next is an attempt of that call too, and what it is charged replaces the estimate.
local function free()
  local known = redis.call('HMGET', KEYS[1], 'c', 's', 'o')
  if known[1] ~= ATTEMPT or known[2] ~= 'claimed' then return {'freed'} end
  if known[3] == ATTEMPT then redis.call('DEL', KEYS[1]) else redis.call('HSET', KEYS[1], 'u', 0) end
  return {'freed'}
end

if STEP == 'claim' then return claim(tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])) end
if STEP == 'hold' then return hold(ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])) end
if STEP == 'keep' then return keep(tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]) end
return free()
