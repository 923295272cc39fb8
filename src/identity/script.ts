/**
 * The scripts that write. Redis runs each as a whole, so a batch is there or it is not.
 *
 * A script first checks everything (the type of each key, the epoch, the fence, the revision, the log's last id), then writes. Lua's writes before an
 * error would stay, so nothing may fail after the first. Why a batch is refused is the answer; only trouble of the server is an error.
 *
 * `#!lua` without flags makes Redis refuse the script on a replica and when memory is short, before it runs.
 */

/**
 * Writes a batch. KEYS: meta, log, then hashes. ARGV: epoch, fence, revision, longest log, time of update, then for each change: index of its hash
 * in KEYS, op, kind, key, value. A deletion of an owner that is not there changes nothing and takes no revision.
 */
export const WRITE_SCRIPT = `#!lua
for i, key in ipairs(KEYS) do
  local type = redis.call('TYPE', key)['ok']
  if type ~= 'none' and type ~= (i == 2 and 'stream' or 'hash') then return {'type', key} end
end
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'fence', 'rev', 'state', 'count')
if meta[1] ~= ARGV[1] then return {'epoch'} end
if meta[2] ~= ARGV[2] then return {'fence'} end
if meta[3] ~= ARGV[3] then return {'rev'} end
local rev = tonumber(meta[3])
local count = tonumber(meta[5]) or 0
local isLogged = meta[4] == 'ready'
if isLogged and redis.call('EXISTS', KEYS[2]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' and tonumber(string.match(info[i + 1], '^%d+')) > rev then return {'rev'} end
  end
end
local function others(stored, uid)
  local words, found = {}, false
  for word in string.gmatch(stored or '', '%S+') do
    if string.sub(word, -13) == '|' .. uid then found = true else words[#words + 1] = word end
  end
  return words, found
end
for i = 6, #ARGV, 5 do
  local hash, op, kind, key, value = KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local isChange = true
  if kind == 'ep' then
    local stored = redis.call('HGET', hash, key)
    local words, found = others(stored, string.sub(value, -12))
    if op == 'set' then
      words[#words + 1] = string.format('%d', rev + 1) .. '|' .. value
      if not stored then count = count + 1 end
      redis.call('HSET', hash, key, table.concat(words, ' '))
    elseif not found then
      isChange = false
    elseif #words == 0 then
      count = count - 1
      redis.call('HDEL', hash, key)
    else
      redis.call('HSET', hash, key, table.concat(words, ' '))
    end
  elseif kind == 'sig' then
    if op == 'set' then redis.call('HSET', hash, key, value) else redis.call('HDEL', hash, key) end
  else
    redis.call('DEL', hash)
    if op == 'set' then
      local fields = {}
      for field, text in pairs(cjson.decode(value)) do
        fields[#fields + 1] = field
        fields[#fields + 1] = text
      end
      redis.call('HSET', hash, unpack(fields))
    end
  end
  if isChange then
    rev = rev + 1
    if isLogged then
      local id = string.format('%d-0', rev)
      redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], id,
        'op', op, 'kind', kind, 'key', key, 'value', value, 'epoch', ARGV[1])
    end
  end
end
redis.call('HSET', KEYS[1], 'rev', string.format('%d', rev), 'count', string.format('%d', count), 'updated', ARGV[5])
return {'ok', string.format('%d', rev)}
`;

/**
 * Takes or keeps the lead, and says which data set is there. KEYS: leader, meta. ARGV: id, ttl, time. The fence grows with every take-over. Keys of a wrong type are removed: they
 * are ours, and nothing can be written beside them.
 */
export const LEAD_SCRIPT = `#!lua
local type = redis.call('TYPE', KEYS[1])['ok']
if type ~= 'none' and type ~= 'string' then redis.call('DEL', KEYS[1]) end
type = redis.call('TYPE', KEYS[2])['ok']
if type ~= 'none' and type ~= 'hash' then redis.call('DEL', KEYS[2]) end
local fence = redis.call('HGET', KEYS[2], 'fence')
if fence and not string.match(fence, '^%d+$') then
  redis.call('HDEL', KEYS[2], 'fence', 'epoch')
  fence = false
end
local holder = redis.call('GET', KEYS[1])
local is = redis.call('HMGET', KEYS[2], 'epoch', 'rev')
local epoch, rev = is[1] or '', is[2] or ''
if holder and holder ~= ARGV[1] then return {0, fence or '0', epoch, rev} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if not holder or not fence then fence = tostring(redis.call('HINCRBY', KEYS[2], 'fence', 1)) end
if holder then redis.call('HSET', KEYS[2], 'updated', ARGV[3]) end
return {1, fence, epoch, rev}
`;

/** Gives the lead up. KEYS: leader. ARGV: id. */
export const RESIGN_SCRIPT = `#!lua
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`;

/** Begins a data set. KEYS: meta, log, sig. ARGV: fence, epoch, schema, buckets, time of update. */
export const BEGIN_SCRIPT = `#!lua
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return {'fence'} end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'schema', ARGV[3], 'epoch', ARGV[2], 'rev', '0', 'buckets', ARGV[4], 'count', '0',
  'state', 'building', 'updated', ARGV[5])
return {'ok', '0'}
`;

/** Removes keys of an older data set. KEYS: meta, then keys. ARGV: epoch, fence. */
export const WIPE_SCRIPT = `#!lua
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'fence')
if meta[1] ~= ARGV[1] then return {'epoch'} end
if meta[2] ~= ARGV[2] then return {'fence'} end
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
return {'ok', '0'}
`;

/** Declares the data set complete. KEYS: meta. ARGV: epoch, fence, time of update. */
export const READY_SCRIPT = `#!lua
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'fence', 'rev')
if meta[1] ~= ARGV[1] then return {'epoch'} end
if meta[2] ~= ARGV[2] then return {'fence'} end
redis.call('HSET', KEYS[1], 'state', 'ready', 'updated', ARGV[3])
return {'ok', meta[3]}
`;

/** The fields of hashes, as JSON: a list of `name, value, …` for each of KEYS. */
export const HASHES_SCRIPT = `#!lua flags=no-writes
local hashes = {}
for i, key in ipairs(KEYS) do hashes[i] = redis.call('HGETALL', key) end
return cjson.encode(hashes)
`;
