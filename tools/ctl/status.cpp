// `status`: both processes, asked each for itself, so that either may be down.
#include <chrono>

#include "dataplane/image/validate.h"
#include "tools/ctl/ask.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {
namespace {

std::string hex_of(const std::uint8_t (&digest)[32]) {
  image::Digest copy;
  std::copy(std::begin(digest), std::end(digest), copy.bytes);
  return image::hex(copy);
}

Value dataplane_status(const Invocation& invocation) {
  try {
    publish::Channel channel = dataplane(invocation);
    const abi::HelloReply hello = channel.hello();
    return {{"running", true},
            {"pid", hello.pid},
            {"started_ms", hello.started_ms},
            {"generation", hello.generation},
            {"digest", hello.generation == 0 ? "" : hex_of(hello.digest)},
            {"workers", hello.workers},
            {"ports", hello.ports},
            {"flows_max", hello.flows_max},
            {"hugepages", hello.hugepages != 0},
            {"flows_restored", hello.flows_restored}};
  } catch (const std::exception& failure) {
    return {{"running", false}, {"reason", failure.what()}};
  }
}

Value controlplane_status(const Invocation& invocation) {
  const ControlplaneReply reply = ask_controlplane(invocation, {{"request", "status"}});
  if (!reply.value) return {{"running", false}, {"reason", reply.reason}};
  Value status = {{"running", true}};
  if (reply.value->is_object()) status.update(*reply.value);
  return status;
}

std::uint64_t number(const Value& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_number_unsigned()
             ? object[key].get<std::uint64_t>()
             : 0;
}

std::string text(const Value& object, const char* key) {
  return object.is_object() && object.contains(key) ? escape(plain(object[key])) : "";
}

const Value& part(const Value& object, const char* key) {
  static const Value nothing = nullptr;
  return object.is_object() && object.contains(key) ? object[key] : nothing;
}

std::string since(std::uint64_t started_ms) {
  using namespace std::chrono;
  const auto now_ms =
      static_cast<std::uint64_t>(duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
  return time_text(started_ms) + " (" + seconds_text(now_ms > started_ms ? (now_ms - started_ms) / 1000 : 0) +
         ")";
}

void say_texts(const Value& texts, const std::string& word, Terminal& terminal) {
  if (!texts.is_array()) return;
  for (const Value& error : texts) {
    std::string place = text(error, "file");
    if (number(error, "line") != 0) place += ":" + text(error, "line") + ":" + text(error, "column");
    terminal.out() << "  " << word << ' ' << place << ": " << text(error, "message") << '\n';
  }
}

std::string age(const Value& source) {
  const Value& seconds = part(source, "age_seconds");
  return seconds.is_number()
             ? "read " + seconds_text(static_cast<std::uint64_t>(seconds.get<double>())) + " ago"
             : "";
}

void say_dataplane(const Value& status, Terminal& terminal) {
  terminal.heading("data plane");
  if (!status["running"].get<bool>()) {
    terminal.fact("state", terminal.paint(Colour::kBad, "not running") + ": " + text(status, "reason"));
    return;
  }
  const bool enforcing = number(status, "generation") != 0;
  terminal.fact("state",
                enforcing ? terminal.paint(Colour::kGood, "enforcing")
                          : terminal.paint(Colour::kWarn, "running without an image: nothing is forwarded"));
  if (enforcing) {
    terminal.fact("enforced",
                  "generation " + text(status, "generation") + ", digest " + text(status, "digest"));
  }
  terminal.fact("process", "pid " + text(status, "pid") + ", since " + since(number(status, "started_ms")));
  terminal.fact("workers", text(status, "workers"));
  terminal.fact("ports", text(status, "ports") + " attached");
  terminal.fact("flow table", "room for " + text(status, "flows_max") + ", " +
                                  text(status, "flows_restored") + " taken up at start");
  terminal.fact("hugepages", text(status, "hugepages"));
}

void say_quarantine(const Value& quarantine, Terminal& terminal) {
  if (const Value& entries = part(quarantine, "entries"); entries.is_array())
    for (const Value& entry : entries)
      terminal.fact("quarantine",
                    terminal.paint(Colour::kWarn, text(entry, "namespace") + "/" + text(entry, "name")) +
                        " by " + text(entry, "author") + ": " + text(entry, "reason"));
  if (const std::string error = text(quarantine, "error"); !error.empty())
    terminal.fact("quarantine",
                  terminal.paint(Colour::kBad, "cannot be read, nothing is published") + ": " + error);
  if (const std::string unsaved = text(quarantine, "unsaved"); !unsaved.empty())
    terminal.fact("quarantine", terminal.paint(Colour::kBad, "is not on disk") + ": " + unsaved);
  if (const Value& damage = part(quarantine, "damage"); damage.is_array())
    for (const Value& line : damage)
      terminal.fact("quarantine", terminal.paint(Colour::kBad, "is damaged") + ": " + escape(plain(line)));
}

void say_controlplane(const Value& status, const Value& dataplane, Terminal& terminal) {
  terminal.heading("control plane");
  if (!status["running"].get<bool>()) {
    terminal.fact("state", terminal.paint(Colour::kBad, "not running") + ": " + text(status, "reason"));
    if (dataplane["running"].get<bool>() && number(dataplane, "generation") != 0)
      terminal.fact("", "the data plane goes on enforcing its image; changes wait for the control plane");
    return;
  }
  const Value& node = part(status, "node");
  terminal.fact("process", "pid " + text(status, "pid") + ", since " + since(number(status, "started_ms")));
  terminal.fact("node", text(node, "name") + ", posture " + text(node, "posture") +
                            (part(node, "strict") == true ? ", strict" : ""));
  const Value& link = part(status, "dataplane");
  if (part(link, "connected") != true)
    terminal.fact("data plane", terminal.paint(Colour::kWarn, "not connected") + " " + text(link, "error"));
  const Value& wanted = part(status, "wanted");
  const bool same = dataplane["running"] == true && part(wanted, "digest") == part(dataplane, "digest");
  terminal.fact("wanted", number(wanted, "generation") == 0
                              ? "nothing yet: not every source has synced"
                              : "generation " + text(wanted, "generation") + ", " +
                                    (same ? terminal.paint(Colour::kGood, "is enforced")
                                          : terminal.paint(Colour::kWarn, "is not enforced yet") +
                                                ", digest " + text(wanted, "digest")));
  const Value& publish = part(status, "publish");
  const Value& invariants = part(status, "invariants");
  const Value& broken = part(invariants, "broken");
  const bool breaks = broken.is_array() && !broken.empty();
  if (const std::string refused = text(publish, "refused"); !refused.empty())
    terminal.fact("candidate", terminal.paint(Colour::kBad, "refused") + ": " +
                                   (breaks ? "it breaks invariants" : refused));
  if (const std::uint64_t demands = number(invariants, "demands"); demands != 0) {
    const std::string held = std::to_string(demands - (breaks ? broken.size() : 0));
    terminal.fact("invariants", breaks ? terminal.paint(Colour::kBad, std::to_string(broken.size()) + " of " +
                                                                          std::to_string(demands) + " broken")
                                       : held + (held == "1" ? " demand holds" : " demands hold") +
                                             ", proven in " + text(invariants, "proof_us") + " us");
    say_texts(broken, terminal.paint(Colour::kBad, "broken"), terminal);
  }
  if (number(publish, "published") != 0)
    terminal.fact("published", text(publish, "published") + " times; compiled in " +
                                   text(publish, "compile_us") + " us, swapped in " +
                                   text(publish, "swap_ns") + " ns");
  if (const Value& warnings = part(publish, "warnings"); warnings.is_array())
    for (const Value& warning : warnings)
      terminal.fact("warning", terminal.paint(Colour::kWarn, escape(plain(warning))));
  const std::string refused = terminal.paint(Colour::kBad, "refused");
  if (const Value& sources = part(status, "sources"); sources.is_array()) {
    for (const Value& source : sources) {
      terminal.fact("source",
                    text(source, "name") + " " + text(source, "path") + ": " +
                        (part(source, "synced") == true ? text(source, "endpoints") + " endpoints"
                                                        : terminal.paint(Colour::kWarn, "not synced")) +
                        ", " + age(source));
      say_texts(part(source, "refused"), refused, terminal);
    }
  }
  if (const Value& policies = part(status, "policies"); policies.is_object()) {
    terminal.fact("policies", text(policies, "path") + ": " + text(policies, "objects") + " objects in " +
                                  text(policies, "files") + " files, " + age(policies));
    say_texts(part(policies, "refused"), refused, terminal);
    say_texts(part(policies, "warnings"), terminal.paint(Colour::kWarn, "warning"), terminal);
  }
  say_quarantine(part(status, "quarantine"), terminal);
  if (const Value& waiting = part(part(status, "ports"), "waiting"); waiting.is_array())
    for (const Value& port : waiting)
      terminal.fact("waiting", terminal.paint(Colour::kWarn, "port " + text(port, "port")) + " of " +
                                   text(port, "endpoint") + ": " + text(port, "reason"));
}

Answer status(const Invocation& invocation) {
  Value value = {{"dataplane", dataplane_status(invocation)},
                 {"controlplane", controlplane_status(invocation)}};
  const bool enforcing =
      value["dataplane"]["running"] == true && number(value["dataplane"], "generation") != 0;
  const bool neither = value["dataplane"]["running"] == false && value["controlplane"]["running"] == false;
  return {std::move(value),
          [](const Value& both, Terminal& terminal) {
            say_dataplane(both["dataplane"], terminal);
            terminal.out() << '\n';
            say_controlplane(both["controlplane"], both["dataplane"], terminal);
          },
          neither     ? kExitNoAnswer
          : enforcing ? kExitGood
                      : kExitRefused};
}

}  // namespace

Command status_command() {
  return {"status",
          "",
          "what is enforced and what is wanted, by both processes",
          "Asks the data plane what it enforces (generation and digest of the image) and the control plane\n"
          "what it wants, which sources it has read and which files it has refused. Works with either\n"
          "process down, and says so. Exit code 0: an image is enforced; 1: none is, nothing is forwarded;\n"
          "3: neither process answers.",
          "  bulkheadctl status\n"
          "  bulkheadctl status -o json | jq -r .dataplane.digest     the enforced image's digest",
          {},
          nullptr,
          status};
}

}  // namespace bulkhead::ctl
