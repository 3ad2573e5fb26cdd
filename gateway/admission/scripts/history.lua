-- ---- the shard's history: is it the one that the workers know? -------------------------------------------------------------------
-- A restart, a failover or a flush may have forgotten what workers were told. Each such history has a number, its era. The first worker that
-- meets a new one opens it: calls under a cap are let in only after every live worker has registered its holds again and said what it
-- settled of late, or after a bound. Accounts are told by the ledger anew, whatever is known of them.
-- {sN}:era      hash   no: when this era was first met, Unix ms · id: the server's run and replication ids · asked: a round was called
-- {sN}:workers  workers by their last beat · {sN}:missing  workers that have not registered in this era; '?': nobody knows who there is
local HOUR_MS = 3600000

local function server_id()
  local run = string.match(call('INFO', 'server'), 'run_id:(%w+)')
  return (run or '') .. (string.match(call('INFO', 'replication'), 'master_replid:(%w+)') or '')
end

-- Up to where the drain has written the stream into the ledger: an id, and whether it is included.
local function drained_to()
  local first = call('XRANGE', USAGE, '-', '+', 'COUNT', 1)[1]
  if first then return first[1], 0 end
  if call('EXISTS', USAGE) == 0 then return '0-0', 0 end
  local facts = call('XINFO', 'STREAM', USAGE)
  for at = 1, #facts, 2 do
    if facts[at] == 'last-generated-id' then return facts[at + 1], 1 end
  end
  return '0-0', 0
end

local function ask_for(workers, bound_ms)
  call('SADD', TAG .. ':missing', unpack(workers))
  call('PEXPIRE', TAG .. ':missing', bound_ms)
  call('HSET', TAG .. ':era', 'asked', 1)
end

local function new_era(before, id, bound_ms, live_ms)
  local workers, era = TAG .. ':workers', max(NOW, before + 1)
  call('DEL', TAG .. ':missing')
  call('HDEL', TAG .. ':era', 'asked')
  call('HSET', TAG .. ':era', 'no', format('%.0f', era), 'id', id)
  local newest = call('ZREVRANGE', workers, 0, 0, 'WITHSCORES')
  local live = newest[2] and call('ZRANGEBYSCORE', workers, newest[2] - live_ms, '+inf', 'LIMIT', 0, FIELDS_MAX) or {}
  if #live > 0 then ask_for(live, bound_ms) end
  call('DEL', workers)
  return era
end

-- {'B', worker, era that it knows (0 = none), bound_ms, live_ms} → {'ok', era, drained up to, 1 = included, live workers}
local function beat(op)
  local worker, known, bound_ms, live_ms = unpack(op, 2, 5)
  local facts, id = call('HMGET', TAG .. ':era', 'no', 'id'), server_id()
  local era = number(facts[1])
  if facts[2] ~= id then era = new_era(era, id, bound_ms, live_ms) end
  era_now = era
  if known ~= 0 and known ~= era then
    if call('HEXISTS', TAG .. ':era', 'asked') == 0 then
      ask_for({worker, '?'}, bound_ms)
    elseif call('EXISTS', TAG .. ':missing') == 1 then
      call('SADD', TAG .. ':missing', worker)
    end
  end
  call('ZREMRANGEBYSCORE', TAG .. ':workers', '-inf', NOW - HOUR_MS)
  call('ZADD', TAG .. ':workers', NOW, worker)
  local upto, included = drained_to()
  return {'ok', era, upto, included, call('ZCOUNT', TAG .. ':workers', NOW - live_ms, '+inf')}
end

-- {'K', worker} a worker has registered · {'L', worker} it leaves for good → {'ok'}
local function registered(op)
  call('SREM', TAG .. ':missing', op[2])
  return {'ok'}
end

local function leave(op)
  call('ZREM', TAG .. ':workers', op[2])
  return registered(op)
end

-- {'H', the operation that admitted the call, lease_ms, output tokens held, sent (0 | 1), output tokens seen, input tokens seen} → {'ok'}
-- The hold of a call that still runs; what Redis knows of it, it knows better.
local function register(op)
  local admitted, lease_ms, output, sent, output_seen, input_seen = unpack(op, 2, 7)
  local id, account_id, rates, tokens, money, bound = admitted[2], admitted[3], admitted[7], admitted[8], admitted[9], admitted[10]
  local _, state = read_hold(id)
  if state == 'H' then
    call('ZADD', TAG .. ':holds', 'XX', NOW + lease_ms, id)
  elseif state == '' then
    know_places(account_id, rates, money)
    local amount = bound_nano(bound, output, 0)
    local hold = {amount = amount, output = output, granted = 0, bucket = BUCKET, sent = sent, output_seen = output_seen, input_seen = input_seen}
    call('SET', hold_key(id), 'H' .. to_text_hold(hold) .. pack(admitted))
    call('ZADD', TAG .. ':holds', NOW + lease_ms, id)
    hold_more(account_of(account_id), money, amount, 0)
    take_place(account_of(account_id), rates, tokens, {-1, 0, 0, -1, 0, 0})
  end
  return {'ok'}
end

-- {'R', call, account, rates, tokens, money, tokens used, record, memory_ms, {'ok', charged_nano, taken, absorbed}}
-- → {'sync'} the account is not known here · the result, as it was decided
-- A settlement that was decided before, and that this history may not know of: nothing of it is decided again.
local function restore(op)
  local id, account_id, rates, tokens, money, used, record, memory_ms, result = unpack(op, 2, 10)
  local left, state = read_hold(id)
  if state == 'S' then return unpack_packed(string.sub(left, 2)) end
  local account, credit = account_of(account_id), 0
  know_places(account_id, rates, money)
  if not account.seen.sy then return {'sync'} end
  if state == 'H' then
    place(left, account_id, rates, tokens, money)
    give_back(left, used)
  elseif state == 'W' then
    local swept = unpack_packed(string.sub(left, 2))
    credit = swept[1]
    return_grants(account, swept[2])
  end
  spend_grants(account, result[3])
  result[5] = append_record(account_id, money, result[2] - credit, record, result[3], absorbed_field(result[4]))
  remember(id, 'S', memory_ms, result)
  return result
end

-- Holds that nobody renewed in time, once it is known who lives in this history.
local function sweep(op)
  if call('HGET', TAG .. ':era', 'id') ~= server_id() or call('EXISTS', TAG .. ':missing') == 1 then return {'ok', 0, 0} end
  local ids, booked, freed = call('ZRANGEBYSCORE', TAG .. ':holds', '-inf', NOW, 'LIMIT', 0, op[2]), 0, 0
  for _, id in ipairs(ids) do
    local hold, state = read_hold(id)
    if state ~= 'H' then
      call('ZREM', TAG .. ':holds', id)
    elseif hold.sent == UNSENT then
      place_as_admitted(hold)
      give_back(hold, 0)
      remember(id, 'F', op[3])
      freed = freed + 1
    else
      book_orphan(hold, op[3])
      booked = booked + 1
    end
  end
  return {'ok', booked, freed}
end
