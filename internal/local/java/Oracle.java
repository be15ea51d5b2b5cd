import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import software.amazon.event.ruler.Machine;

/**
 * Answers whether EventBridge would match an event, with EventBridge's own rule engine. Reads lines
 * {"pattern": "...", "event": "..."} and answers each with {"match": true} or {"error": "..."}.
 *
 * <p>Machine and not Ruler.matchesRule: only the former is what EventBridge runs, with its array
 * consistency (the fields of a pattern's object must match within one element of an event's list).
 */
final class Oracle {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Map<String, Machine> MACHINES = new HashMap<>();

  public static void main(String[] args) throws Exception {
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line; (line = in.readLine()) != null; ) {
      out.println(JSON.writeValueAsString(answer(JSON.readTree(line))));
    }
  }

  private static Map<String, Object> answer(JsonNode question) {
    try {
      Machine machine = machine(question.get("pattern").asText());
      return Map.of("match", !machine.rulesForJSONEvent(question.get("event").asText()).isEmpty());
    } catch (Exception e) {
      return Map.of("error", e.toString());
    }
  }

  /** Building a machine costs more than asking it. */
  private static Machine machine(String pattern) throws Exception {
    Machine machine = MACHINES.get(pattern);
    if (machine == null) {
      machine = new Machine();
      machine.addRule("rule", pattern);
      MACHINES.put(pattern, machine);
    }
    return machine;
  }
}
