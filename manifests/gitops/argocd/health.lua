-- Health of an InferenceDeployment for Argo CD.
-- Install: copy into the ConfigMap argocd-cm under the key
--   resource.customizations.health.inferencefleet.io_InferenceDeployment
local function condition(kind)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, c in ipairs(obj.status.conditions) do
      if c.type == kind then
        return c
      end
    end
  end
  return nil
end

local function is(kind, status)
  local c = condition(kind)
  return c ~= nil and c.status == status
end

local function said(kind, otherwise)
  local c = condition(kind)
  if c == nil then
    return otherwise
  end
  if c.message ~= nil and c.message ~= "" then
    return c.reason .. ": " .. c.message
  end
  return c.reason
end

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "being deleted" }
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waiting for the operator to look at this spec" }
end
if is("Suspended", "True") then
  return { status = "Suspended", message = said("Suspended", "") }
end
if is("Stalled", "True") then
  return { status = "Degraded", message = said("Stalled", "") }
end
if is("Ready", "True") then
  return { status = "Healthy", message = said("Ready", "") }
end
return { status = "Progressing", message = said("Ready", "waiting for conditions") }
