-- ---- Y: tell the shard what the ledger knows about an account ----------------------------------------------------------------
-- {'Y', account, epoch, money {{scope, counted, entries}…}, grants {{id, from, until, left}…}} → {'ok'}
local function count(account, scope, counted, entries)
  local known = account.seen['$' .. scope]
  if not known or known[1] < 0 or known[2] <= entries then
    local money = money_of(account, scope)
    money[1], money[2] = counted, entries
  end
end

local function sync(op)
  local account_id, epoch, money, grants = unpack(op, 2, 5)
  local account = account_of(account_id)
  know(account, money_fields({'ep', 'sy', 'g'}, money))
  local synced = account.seen.sy or 0
  put(account, 'ep', max(epoch, account.seen.ep or 0))
  put(account, 'sy', max(epoch, synced))
  put(account, 'er', era())
  for _, total in ipairs(money) do count(account, total[1], total[2], total[3]) end
  if synced > epoch then return {'ok'} end
  -- What a known grant has left is known best here: some of its spending may not be in the ledger yet.
  local left = {}
  for _, grant in ipairs(account.seen.g or {}) do left[grant[1]] = grant[4] end
  for _, grant in ipairs(grants) do grant[4] = left[grant[1]] or grant[4] end
  if #grants > 0 or account.seen.g then put(account, 'g', grants) end
  return {'ok'}
end

-- ---- E: something about an account changed; C: a rate card was posted --------------------------------------------------------
-- {'E', account, epoch} · {'C', version} → {'ok'}
local function outdate(op)
  local account = account_of(op[2])
  know(account, {'ep'})
  if (account.seen.ep or 0) < op[3] then put(account, 'ep', op[3]) end
  return {'ok'}
end

local function new_cards(op)
  local key = TAG .. ':cards'
  if number(call('GET', key)) < op[2] then call('SET', key, format('%.0f', op[2])) end
  cards_now = nil
  return {'ok'}
end

-- ---- D: the drain has these records in the ledger ----------------------------------------------------------------------------
-- {'D', done {{stream id, account, nano, scopes, call}…}, totals {{account, scope, counted, entries}…}, memory_ms} → {'ok'}
-- What was decided of a call is remembered until its record is drained, and then for so long.
local function drained(op)
  for _, record in ipairs(op[2]) do
    if call('XDEL', USAGE, record[1]) == 1 then
      local account, names = account_of(record[2]), {}
      for at, scope in ipairs(record[4]) do names[at] = '$' .. scope end
      know(account, names)
      for _, scope in ipairs(record[4]) do
        local money = money_of(account, scope)
        money[3] = money[3] - record[3]
      end
      local left = record[5] and hold_key(record[5])
      if left and call('GETRANGE', left, 0, 0) == 'S' then call('PEXPIRE', left, op[4]) end
    end
  end
  for _, total in ipairs(op[3]) do
    local account = account_of(total[1])
    know(account, {'$' .. total[2]})
    count(account, total[2], total[3], total[4])
  end
  return {'ok'}
end

-- ---- V: what an account has in hand (its own view) ---------------------------------------------------------------------------
-- {'V', account, scopes} → {'ok', {{counted, pending, held}…}, grants, grant tokens that holds count on}
local function view(op)
  local account, names, rows = account_of(op[2]), {'g', 'rv'}, {}
  for _, scope in ipairs(op[3]) do names[#names + 1] = '$' .. scope end
  know(account, names)
  for at, scope in ipairs(op[3]) do
    local money = account.seen['$' .. scope] or {0, 0, 0, 0}
    rows[at] = {max(0, money[1]), money[3], money[4]}
  end
  local grants = {}  -- a copy: what comes later in this tick is not part of the answer
  for at, grant in ipairs(account.seen.g or {}) do grants[at] = {grant[1], grant[2], grant[3], grant[4]} end
  return {'ok', rows, grants, account.seen.rv or 0}
end

-- ---- the tick ----------------------------------------------------------------------------------------------------------------
-- An operation is a short array: one byte of head, one that says how long the letter is, the letter.
local DO_PACKED = {A = admit, S = settle}
local DO = {X = extend, F = free, W = sweep, Y = sync, E = outdate, C = new_cards, D = drained, V = view,
  B = beat, K = registered, L = leave, H = register, R = restore, G = guess}

local function tick(keys, args)
  begin(keys[1], args[1])
  local replies = {}
  for at = 2, #args do
    local packed = args[at]
    local letter, done, reply = string.sub(packed, 3, 3)
    if DO_PACKED[letter] then
      done, reply = pcall(DO_PACKED[letter], packed)
    else
      done, reply = pcall(DO[letter], unpack_packed(packed))
    end
    replies[at - 1] = done and reply or {'defect', tostring(type(reply) == 'table' and reply.err or reply)}
  end
  for _, account in pairs(accounts) do keep_account(account) end
  for _, window in pairs(windows) do keep_window(window) end
  return pack(replies)
end
