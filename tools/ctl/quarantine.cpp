// `quarantine add`, `lift` and `list`: one endpoint out of every conversation, at once, and in again.
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

#include "tools/ctl/ask.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {
namespace {

/// A pass of the control plane compiles, and calls the data plane several times.
constexpr int kTimeout_ms = 60'000;

struct Name {
  std::string namespace_name, name;
};

Name name_of(const Invocation& invocation, const char* command) {
  const auto operands = invocation.texts("endpoint");
  const std::string text = operands.empty() ? "" : operands[0];
  const auto slash = text.find('/');
  if (operands.size() != 1 || slash == std::string::npos || slash == 0 || slash + 1 == text.size())
    throw Failure(kExitUsage, std::string(command) + ": expected one NAMESPACE/NAME" +
                                  (text.empty() ? "" : ", found '" + escape(text) + "'") + "; bulkheadctl " +
                                  command + " --help explains");
  return {text.substr(0, slash), text.substr(slash + 1)};
}

/// Who asks: behind sudo, the person.
std::string author_of(const Invocation& invocation) {
  if (invocation.has("author")) return invocation.text("author");
  if (const char* sudo = std::getenv("SUDO_USER"); sudo != nullptr && *sudo != '\0') return sudo;
  const passwd* user = ::getpwuid(::getuid());
  return user != nullptr ? user->pw_name : "uid " + std::to_string(::getuid());
}

Value ask(const Invocation& invocation, const Value& request) {
  const ControlplaneReply reply = ask_controlplane(invocation, request, kTimeout_ms);
  if (!reply.value)
    throw Failure(kExitNoAnswer, "the control plane does not answer: " + escape(reply.reason));
  if (reply.value->is_object() && reply.value->contains("error"))
    throw Failure(kExitRefused, escape(plain((*reply.value)["error"])));
  return *reply.value;
}

/// What add and lift have in common: what came of it, and how sure that is.
Answer outcome(Value value, const std::string& name, const char* done, const char* not_yet) {
  value["endpoint"] = name;
  const bool enforced = value.value("enforced", false);
  const bool saved = value.value("unsaved", "").empty();
  const std::string good = name + done, bad = name + not_yet;
  return {std::move(value),
          [good, bad](const Value& answer, Terminal& terminal) {
            if (answer["enforced"] == true)
              terminal.out() << terminal.paint(Colour::kGood, escape(good)) << ", enforced as generation "
                             << plain(answer["generation"]) << '\n';
            else
              terminal.out() << terminal.paint(Colour::kBad, escape(bad)) << ": "
                             << escape(plain(answer["reason"])) << '\n';
            if (const std::string unsaved = answer.value("unsaved", ""); !unsaved.empty())
              terminal.out() << terminal.paint(Colour::kBad, "not on disk")
                             << ", so not after a restart: " << escape(unsaved) << '\n';
            if (const std::string note = answer.value("note", ""); !note.empty())
              terminal.out() << terminal.paint(Colour::kWarn, "note") << ": " << escape(note) << '\n';
          },
          enforced && saved ? kExitGood : kExitRefused};
}

Answer add(const Invocation& invocation) {
  const Name name = name_of(invocation, "quarantine add");
  if (!invocation.has("reason"))
    throw Failure(kExitUsage,
                  "quarantine add: --reason is missing: somebody will have to decide whether to lift it");
  return outcome(ask(invocation, {{"request", "quarantine"},
                                  {"namespace", name.namespace_name},
                                  {"name", name.name},
                                  {"reason", invocation.text("reason")},
                                  {"author", author_of(invocation)}}),
                 name.namespace_name + "/" + name.name, " is quarantined",
                 " is on the list of quarantines, but that is not enforced yet");
}

Answer lift(const Invocation& invocation) {
  const Name name = name_of(invocation, "quarantine lift");
  return outcome(
      ask(invocation, {{"request", "lift"}, {"namespace", name.namespace_name}, {"name", name.name}}),
      name.namespace_name + "/" + name.name, " is no longer quarantined",
      " is no longer on the list of quarantines, but that is not enforced yet");
}

Answer list(const Invocation& invocation) {
  const Value status = ask(invocation, {{"request", "status"}});
  if (!status.is_object() || !status.contains("quarantine"))
    throw Failure(kExitNoAnswer, "the control plane is of a version that knows no quarantine");
  const Value& value = status["quarantine"];
  const bool whole = value["error"] == "" && value["unsaved"] == "" && value["damage"].empty();
  return {
      value,
      [](const Value& all, Terminal& terminal) {
        Table table({{"ENDPOINT"}, {"SINCE"}, {"AUTHOR"}, {"REASON"}});
        for (const Value& entry : all["entries"])
          table.row({plain(entry["namespace"]) + "/" + plain(entry["name"]) +
                         (entry["exists"] == true ? "" : " (not there now)"),
                     time_text(entry["since_ms"].get<std::uint64_t>()), plain(entry["author"]),
                     plain(entry["reason"])});
        table.print(terminal);
        for (const char* wrong : {"error", "unsaved"})
          if (all[wrong] != "")
            terminal.out() << terminal.paint(Colour::kBad, wrong) << ": " << escape(plain(all[wrong]))
                           << '\n';
        for (const Value& line : all["damage"])
          terminal.out() << terminal.paint(Colour::kBad, "damaged") << ": " << escape(plain(line)) << '\n';
        if (!all["damage"].empty())
          terminal.out() << "what could be read holds; add what is missing, then remove the damaged file\n";
      },
      whole ? kExitGood : kExitRefused};
}

}  // namespace

std::vector<Command> quarantine_commands() {
  const Option endpoint = {"endpoint", "NAMESPACE/NAME", "the endpoint", true, Completes::kEndpoints};
  return {
      {"quarantine add",
       "NAMESPACE/NAME --reason TEXT [--author NAME]",
       "isolate an endpoint at once, whatever policies say",
       "From the moment it returns with exit code 0, the endpoint neither sends nor receives, with its own\n"
       "node neither; conversations it has are cut with their next packet. It holds until it is lifted: "
       "over\n"
       "restarts of either process, for an endpoint that is made again under the name, and for one that "
       "does\n"
       "not exist yet, which a note says then. What is denied is explained by reason and author. Once more\n"
       "for the same endpoint: replaces both. The control plane of this node keeps the list; where the\n"
       "endpoint runs on another node, its peers here are cut off from it.\n\n"
       "Exit code 0: enforced; 1: refused, or held and not enforced yet (or not on disk): the reason is "
       "said;\n"
       "3: the control plane does not answer.",
       "  bulkheadctl quarantine add shop/web --reason 'beacons to 198.51.100.7, ticket 4711'\n"
       "  bulkheadctl quarantine add lab/ci --reason 'image is not signed' --author nightwatch",
       {endpoint,
        {"reason", "TEXT", "why, for whoever meets it", false, Completes::kNothing},
        {"author", "NAME", "who says so (default $SUDO_USER, or the login name)", false,
         Completes::kNothing}},
       "endpoint",
       add},
      {"quarantine lift",
       "NAMESPACE/NAME",
       "end the quarantine of an endpoint",
       "From the moment it returns with exit code 0, policies decide again. Exit codes as of quarantine add.",
       "  bulkheadctl quarantine lift shop/web",
       {endpoint},
       "endpoint",
       lift},
      {"quarantine list",
       "",
       "who is quarantined, since when, by whom and why",
       "Asks the control plane. Exit code 1: its file was damaged, or cannot be read or written; what is "
       "wrong\n"
       "with it is said, and what could be read holds.",
       "  bulkheadctl quarantine list\n"
       "  bulkheadctl quarantine list -o json | jq -r '.entries[] | .namespace + \"/\" + .name'",
       {},
       nullptr,
       list},
  };
}

}  // namespace bulkhead::ctl
