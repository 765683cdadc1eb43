// `image show`, `image verify` and `image save`: the image itself.
#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "dataplane/image/validate.h"
#include "tools/ctl/ask.h"
#include "tools/ctl/command.h"
#include "tools/ctl/ends.h"

namespace bulkhead::ctl {
namespace {

/// The one operand, or nothing. More are a usage error.
std::string operand(const Invocation& invocation, const char* command) {
  const auto files = invocation.texts("file");
  if (files.size() > 1)
    throw Failure(kExitUsage, std::string(command) + ": one FILE, not " + std::to_string(files.size()));
  return files.empty() ? "" : files[0];
}

Image image_to_show(const Invocation& invocation, const char* command) {
  const std::string path = operand(invocation, command);
  if (!path.empty()) return image_file(path);
  publish::Channel channel = dataplane(invocation);
  return enforced_image(channel);
}

Value table_value(const char* name, const image::TableRef& table, std::uint64_t element_bytes) {
  return {{"table", name},
          {"count", table.count},
          {"offset", table.offset},
          {"bytes", table.count * element_bytes}};
}

Value describe(const Image& image) {
  const image::PolicyHeader& policy = *image.view.policy;
  Value tables = Value::array();
  const auto in_policy = [&](const char* name, const image::TableRef& table, std::uint64_t bytes) {
    tables.push_back(table_value(name, table, bytes));
  };
  in_policy("page_of", policy.page_of, 2);
  in_policy("pages", policy.pages, 2);
  in_policy("matrix ingress", policy.matrix[image::kIngress], 4);
  in_policy("matrix egress", policy.matrix[image::kEgress], 4);
  in_policy("cells", policy.cells, 4);
  in_policy("verdict_pages", policy.verdict_pages, 4);
  in_policy("verdicts", policy.verdicts, sizeof(image::Decision));
  in_policy("passed_of", policy.passed_of, 4);
  in_policy("passed", policy.passed, sizeof(image::Passed));
  in_policy("subjects ingress", policy.subjects[image::kIngress], sizeof(image::SubjectClass));
  in_policy("subjects egress", policy.subjects[image::kEgress], sizeof(image::SubjectClass));
  in_policy("policies", policy.policies, sizeof(image::Policy));
  in_policy("rules", policy.rules, sizeof(image::Rule));
  in_policy("isolating", policy.isolating, 4);
  in_policy("governing", policy.governing, 4);
  in_policy("records", policy.records, sizeof(image::PackedRecord));
  in_policy("meanings", policy.meanings, sizeof(image::Meaning));
  in_policy("trie", policy.trie, 4);
  in_policy("strings", policy.strings, 1);
  Value shards = Value::array();
  std::uint64_t shard_bytes = 0, endpoints = 0, addresses = 0, identities = 0;
  image.view.for_each_endpoint([&](std::uint32_t) { ++endpoints; });
  image.view.for_each_address([&](const image::AddressSlot&) { ++addresses; });
  image.view.for_each_identity([&](std::uint32_t) { ++identities; });
  for (std::uint32_t number = 0; number <= image.view.shard_mask; ++number) {
    const image::ShardHeader& shard = *image.view.shards[number].header;
    shards.push_back({{"shard", number}, {"bytes", shard.bytes}, {"digest", image::hex(shard.digest)}});
    shard_bytes += shard.bytes;
  }
  const auto none_first = [](const image::TableRef& table) { return table.count == 0 ? 0 : table.count - 1; };
  return {
      {"from", image.from},
      {"generation", image.generation},
      {"digest", image::hex(image::image_digest(image.view))},
      {"format_version", policy.version},
      {"bytes", policy.bytes + shard_bytes},
      {"policy", {{"bytes", policy.bytes}, {"digest", image::hex(policy.digest)}}},
      {"shards", std::move(shards)},
      {"endpoints", endpoints},
      {"addresses", addresses},
      {"identities", identities},
      {"policies", none_first(policy.policies)},
      {"rules", none_first(policy.rules)},
      {"subject_classes",
       {{"ingress", policy.subject_classes[image::kIngress]},
        {"egress", policy.subject_classes[image::kEgress]}}},
      {"peer_classes",
       {{"ingress", policy.peer_classes[image::kIngress]}, {"egress", policy.peer_classes[image::kEgress]}}},
      {"port_classes", policy.port_classes},
      {"rule_sets", policy.rule_sets},
      {"gateway_v4", address_text(policy.gateway_v4)},
      {"gateway_v6", address_text(policy.gateway_v6)},
      {"tables", std::move(tables)}};
}

Answer show(const Invocation& invocation) {
  return {
      describe(image_to_show(invocation, "image show")), [](const Value& value, Terminal& terminal) {
        const auto pair = [](const Value& both) {
          return plain(both["ingress"]) + " ingress, " + plain(both["egress"]) + " egress";
        };
        terminal.fact("image", escape(plain(value["from"])));
        terminal.fact("digest", plain(value["digest"]));
        const auto policy_bytes = value["policy"]["bytes"].get<std::uint64_t>();
        terminal.fact("policy", bytes_text(policy_bytes) + ", digest " + plain(value["policy"]["digest"]));
        terminal.fact("shards", std::to_string(value["shards"].size()) + ", together " +
                                    bytes_text(value["bytes"].get<std::uint64_t>() - policy_bytes));
        for (const char* count : {"endpoints", "addresses", "identities", "policies", "rules"})
          terminal.fact(count, plain(value[count]));
        terminal.fact("subjects", pair(value["subject_classes"]) + " classes");
        terminal.fact("peers", pair(value["peer_classes"]) + " classes");
        terminal.fact("ports", plain(value["port_classes"]) + " classes");
        terminal.fact("rule sets", plain(value["rule_sets"]));
        terminal.out() << '\n';
        Table table({{"TABLE"}, {"ELEMENTS", true}, {"BYTES", true}, {"OFFSET", true}});
        for (const Value& row : value["tables"])
          table.row({plain(row["table"]), plain(row["count"]), plain(row["bytes"]), plain(row["offset"])});
        table.print(terminal);
      }};
}

Answer verify(const Invocation& invocation) {
  const Image image = image_to_show(invocation, "image verify");
  return {{{"valid", true},
           {"from", image.from},
           {"generation", image.generation},
           {"digest", image::hex(image::image_digest(image.view))},
           {"bytes", image::join_file(image.sections()).size()}},
          [](const Value& value, Terminal& terminal) {
            terminal.out() << escape(plain(value["from"])) << ": " << terminal.paint(Colour::kGood, "valid")
                           << ", " << plain(value["bytes"]) << " bytes, digest " << plain(value["digest"])
                           << '\n';
          }};
}

/// Written beside its place and renamed, so that a file of this name is always a whole image.
Answer save(const Invocation& invocation) {
  const std::string path = operand(invocation, "image save");
  if (path.empty()) throw Failure(kExitUsage, "image save: a FILE to write is missing");
  publish::Channel channel = dataplane(invocation);
  const Image image = enforced_image(channel);
  const std::string draft = path + ".part";
  const auto fail = [&](const char* what) {
    const std::string reason = std::strerror(errno);
    std::remove(draft.c_str());
    throw Failure(kExitRefused, escape(path) + ": " + what + ": " + reason);
  };
  std::FILE* file = std::fopen(draft.c_str(), "we");
  if (file == nullptr) fail("cannot be written");
  const std::vector<std::byte> bytes = image::join_file(image.sections());
  bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  written = std::fflush(file) == 0 && fsync(fileno(file)) == 0 && written;
  if (std::fclose(file) != 0 || !written) fail("cannot be written");
  if (std::rename(draft.c_str(), path.c_str()) != 0) fail("cannot be put in its place");
  return {{{"file", path},
           {"generation", image.generation},
           {"digest", image::hex(image::image_digest(image.view))},
           {"bytes", bytes.size()}},
          [](const Value& value, Terminal& terminal) {
            terminal.out() << escape(plain(value["file"])) << ": generation " << plain(value["generation"])
                           << ", " << plain(value["bytes"]) << " bytes, digest " << plain(value["digest"])
                           << '\n';
          }};
}

Option file_operand(const char* meaning) {
  return {"file", "FILE", meaning, true, Completes::kFiles};
}

}  // namespace

std::vector<Command> image_commands() {
  return {
      {"image show",
       "[FILE]",
       "sections, sizes, counts and digest of an image",
       "Describes the enforced image, or that of FILE: its policy section and shards, the classes that "
       "policy tells\n"
       "apart, every table. A file carries no generation: it is shown as 0.",
       "  bulkheadctl image show\n"
       "  bulkheadctl image show node.image -o yaml",
       {file_operand("an image file; without it, the enforced image")},
       "file",
       show},
      {"image verify",
       "[FILE]",
       "check every offset, index and digest of an image",
       "Runs the data plane's own validation over the enforced image or FILE. Exit code 1 and the reason\n"
       "if anything in it is wrong.",
       "  bulkheadctl image verify node.image && echo whole",
       {file_operand("an image file; without it, the enforced image")},
       "file",
       verify},
      {"image save",
       "FILE",
       "write the enforced image to a file",
       "Writes the enforced image, section after section, each padded to 4096 bytes: for `verdict --image`\n"
       "on another machine, or as evidence of what was enforced.",
       "  bulkheadctl image save /var/tmp/node.image",
       {file_operand("where to write")},
       "file",
       save},
  };
}

}  // namespace bulkhead::ctl
